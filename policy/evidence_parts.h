/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/json.h"
#include "policy/evidence.h"

/*
 * What writer (evidence_write.c) and reader (evidence_read.c) share, so that they cannot differ:
 * the words of the enums and the lists of like members. Nobody else includes this.
 */

#define POLICY_AGE_MAX_MS (INT64_C(1) << 52) /* exact in every reader of JSON */

struct policy_words {
    const char *const *words; /* by value; NULL: no such value */
    size_t count;
};
extern const struct policy_words policy_cluster_words;
extern const struct policy_words policy_witnesses_words;
extern const struct policy_words policy_restart_words;
extern const struct policy_words policy_status_words;
extern const struct policy_words policy_session_words;
extern const struct policy_words policy_echo_words;
extern const struct policy_words policy_outcome_words;
extern const struct policy_words policy_origin_words;
extern const struct policy_words policy_grant_words;

/* Members of a struct with one form each. */
struct policy_member {
    const char *name;
    size_t offset;
};
#define POLICY_RULES_NUMBERS 6 /* int64_t of struct policy_group */
extern const struct policy_member policy_rules_numbers[POLICY_RULES_NUMBERS];
/* Of struct probe_state. */
#define POLICY_STATE_NUMBERS 7 /* int32_t */
#define POLICY_STATE_FLAGS 2   /* bool */
extern const struct policy_member policy_state_numbers[POLICY_STATE_NUMBERS];
extern const struct policy_member policy_state_flags[POLICY_STATE_FLAGS];
