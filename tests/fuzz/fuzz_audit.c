/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the audit log: what is taken must be what we would write. */
#include "libescrow/audit_record.h"
#include "libescrow/log.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct audit_record record;
    char *line = NULL;
    size_t line_len;

    log_init("fuzz", (enum log_level)0);
    if (audit_record_parse((const char *)bytes, len, &record) != ESCROW_OK)
        return 0;
    if (audit_record_encode(&record, &line, &line_len) != ESCROW_OK || line_len != len ||
        memcmp(line, bytes, len) != 0)
        abort();
    free(line);
    audit_record_deinit(&record);
    return 0;
}
