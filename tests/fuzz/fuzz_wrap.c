/* SPDX-License-Identifier: Apache-2.0 */
/* A public area of a depositor: what is taken must be the template, byte for byte. */
#include "libescrow/log.h"
#include "libescrow/wrap.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    uint8_t again[WRAP_PUBLIC_MAX];
    struct wrap_object object;
    size_t again_len;

    log_init("fuzz", (enum log_level)0);
    if (wrap_object_parse(bytes, len, &object) == ESCROW_OK &&
        (wrap_object_marshal(&object, again, &again_len) != ESCROW_OK || again_len != len ||
         memcmp(again, bytes, len) != 0))
        abort();
    return 0;
}
