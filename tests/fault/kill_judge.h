/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/fault/oracle.h"

/*
 * What the ledger must say after whatever happened to a keeper: the records of the log (as the
 * oracle read them), folded here a second time and by nothing of the code that is tested, against
 * the rows of a copy of the store. And what the log must say of itself: epochs without a gap, one
 * grantee of each, no more grants than retries allow.
 */

/* The group's policy, as the judge must know it. */
struct kill_rules {
    unsigned retries;
};

/* NULL, or what is wrong (until the next call). */
const char *judge_ledger(const struct oracle *oracle, const char *store_path,
                         const char *copy_path);
const char *judge_epochs(const struct oracle *oracle, const struct kill_rules *rules);
