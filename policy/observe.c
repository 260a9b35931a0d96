/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/rules.h"

#include <string.h>

static bool is_primary(const struct policy_group *rules, const struct policy_facts *facts,
                       const struct policy_replica *replica)
{
    struct policy_proof proof = {
        .rules = rules,
        .facts = facts,
        .candidate = replica,
        .wait_until_ms = POLICY_NO_DEADLINE,
    };

    return policy_rule_instance(&proof).result == POLICY_PASSED &&
           policy_rule_cluster(&proof).result == POLICY_PASSED &&
           policy_rule_witnesses(&proof).result == POLICY_PASSED &&
           policy_rule_rival(&proof).result == POLICY_PASSED;
}

enum policy_observation policy_observe(const struct policy_group *rules,
                                       const struct policy_facts *facts,
                                       const struct policy_ledger *ledger,
                                       const struct policy_replica **ret_primary)
{
    const struct policy_replica *primary = NULL;

    /* Rule 3 lets at most one through: two that say PRIMARY are each other's rivals. */
    for (size_t i = 0; i < rules->replica_count && !primary; i++) {
        if (is_primary(rules, facts, &rules->replicas[i]))
            primary = &rules->replicas[i];
    }
    if (primary && ledger->has_record && strcmp(ledger->primary, primary->instance) == 0)
        primary = NULL;
    *ret_primary = primary;
    if (!primary)
        return POLICY_NOTHING;
    return ledger->has_record ? POLICY_PROMOTION : POLICY_BASELINE;
}
