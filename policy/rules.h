/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/decide.h"

/*
 * Rules 1, 3 and 4 of the promotion proof, which the decision (decide.c) and the watch (observe.c)
 * share, so that the watch cannot be fooled more easily than a request; and rule 7, which only the
 * decision has. Pure, like both; nobody else includes this.
 */

/* What was found on the way through the rules about one candidate. */
struct policy_proof {
    const struct policy_group *rules;
    const struct policy_facts *facts;
    const struct policy_replica *candidate;
    size_t witnesses;
    bool is_by_silence;
    bool is_witnessed;     /* rule 4 passed */
    int64_t sufficed_ms;   /* when the witnesses sufficed, if is_witnessed */
    int64_t wait_until_ms; /* the earliest time at which a waiting rule may change by itself */
};

/* What is known of a replica; never NULL: a silent one where the facts have none. */
const struct policy_replica_facts *policy_facts_of(const struct policy_facts *facts,
                                                   const struct policy_replica *replica);

/* What a rule returns: it passed, it refuses, it may pass later, an admin must approve. */
struct policy_step policy_step_passed(void);
struct policy_step policy_step_failed(enum reason reason);
struct policy_step policy_step_waiting(enum reason reason);
struct policy_step policy_step_approval(enum reason reason);

/* Rule 1 without what concerns the database. */
struct policy_step policy_rule_instance(const struct policy_proof *proof);
/* Rule 1, its part about the database. This and all below: only once the candidate has answered. */
struct policy_step policy_rule_database(const struct policy_proof *proof);
/* Rule 1, its part about cluster type and quorum. */
struct policy_step policy_rule_cluster(const struct policy_proof *proof);
/* Rule 4; before rule 3, which counts from when the witnesses sufficed. */
struct policy_step policy_rule_witnesses(struct policy_proof *proof);
/* Rule 3. */
struct policy_step policy_rule_rival(struct policy_proof *proof);
/* Rule 7; passes where the group does not have it. */
struct policy_step policy_rule_echo(const struct policy_proof *proof);
