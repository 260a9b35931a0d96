/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: a line that is taken is, byte for byte, the line that we would write for its
 * record, and a chain moves by exactly the records that follow one another.
 */
#include "libescrow/audit_record.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_line(const char *line, size_t len)
{
    struct audit_record record;
    char *again = NULL;
    size_t again_len = 0;
    enum escrow_err err = audit_record_parse(line, len, &record);

    fuzz_check_err(err);
    if (err)
        return;
    err = audit_record_encode(&record, &again, &again_len);
    if (fuzz_went_well(err == ESCROW_OK))
        FUZZ_CHECK(again_len == len && memcmp(again, line, len) == 0);
    else
        FUZZ_CHECK(!again);
    free(again);
    audit_record_deinit(&record);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    struct audit_chain chain = {0};
    const char *line = (const char *)bytes;

    while (len > 0) {
        const char *end = memchr(line, '\n', len);
        const size_t line_len = end ? (size_t)(end - line) + 1 : len;
        const struct audit_chain before = chain;
        struct audit_record record;

        check_line(line, line_len);
        if (audit_chain_next(&chain, line, line_len, &record) == AUDIT_FAULT_NONE) {
            FUZZ_CHECK(chain.sequence == before.sequence + 1);
            FUZZ_CHECK(chain.sequence == record.sequence && chain.time_ms >= before.time_ms);
            FUZZ_CHECK(memcmp(before.hash, record.previous, AUDIT_HASH_BYTES) == 0);
            audit_record_deinit(&record);
        } else {
            FUZZ_CHECK(memcmp(&before, &chain, sizeof(chain)) == 0);
        }
        line += line_len;
        len -= line_len;
    }
}
