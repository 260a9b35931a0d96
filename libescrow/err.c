/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/err.h"

#include <stddef.h>

/* Exit codes are part of the interface: never renumber. */
static const struct {
    const char *name;
    int exit_code;
} results[] = {
    [ESCROW_OK] = {"ok", 0},
    [ESCROW_ERR_USAGE] = {"usage", 2},
    [ESCROW_ERR_CONFIG] = {"config", 3},
    [ESCROW_ERR_MALFORMED] = {"malformed", 4},
    [ESCROW_ERR_DENIED] = {"denied", 5},
    [ESCROW_ERR_NOT_FOUND] = {"not_found", 6},
    [ESCROW_ERR_EXISTS] = {"exists", 7},
    [ESCROW_ERR_UNAVAILABLE] = {"unavailable", 8},
    [ESCROW_ERR_TIMEOUT] = {"timeout", 9},
    [ESCROW_ERR_CRYPTO] = {"crypto", 10},
    [ESCROW_ERR_TPM] = {"tpm", 11},
    [ESCROW_ERR_STORE] = {"store", 12},
    [ESCROW_ERR_SQL] = {"sql", 13},
    [ESCROW_ERR_SYSTEM] = {"system", 14},
    [ESCROW_ERR_NO_MEMORY] = {"no_memory", 15},
};

const char *escrow_err_name(enum escrow_err err)
{
    size_t index = (size_t)err;

    return index < ARRAY_LEN(results) ? results[index].name : "unknown";
}

int escrow_err_exit_code(enum escrow_err err)
{
    size_t index = (size_t)err;

    return index < ARRAY_LEN(results) ? results[index].exit_code : 1;
}
