/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/keeper_fixture.h"

/* What the files of keeper_fixture.h share, and no test needs. */

#define OK(call)                                                                                   \
    do {                                                                                           \
        enum escrow_err result_ = (call);                                                          \
                                                                                                   \
        if (result_ != ESCROW_OK)                                                                  \
            fx_fail(#call, escrow_err_name(result_));                                              \
    } while (0)
#define NOT_NULL(value)                                                                            \
    do {                                                                                           \
        if (!(value))                                                                              \
            fx_fail(#value, "NULL");                                                               \
    } while (0)

/* Every decision in the log follows from its record. Ends the program if one does not. */
void fx_check_decisions(const struct keeper_fixture *fx);

/* By CLOCK_MONOTONIC. */
int64_t fx_now_ms(void);
