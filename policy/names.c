/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/decide.h"

static const char *name_of(const char *const *names, size_t count, size_t index)
{
    return index < count && names[index] ? names[index] : "unknown";
}

const char *policy_outcome_name(enum policy_outcome outcome)
{
    static const char *const names[] = {
        [POLICY_DENY] = "deny",
        [POLICY_WAIT] = "wait",
        [POLICY_NEEDS_APPROVAL] = "needs_approval",
        [POLICY_ALLOW] = "allow",
    };

    return name_of(names, ARRAY_LEN(names), outcome);
}

const char *policy_rule_name(enum policy_rule rule)
{
    static const char *const names[] = {
        [POLICY_RULE_CANDIDATE] = "candidate", [POLICY_RULE_SESSION] = "session",
        [POLICY_RULE_RIVAL] = "rival",         [POLICY_RULE_WITNESSES] = "witnesses",
        [POLICY_RULE_PROMOTION] = "promotion", [POLICY_RULE_BRAKE] = "brake",
        [POLICY_RULE_ECHO] = "echo",
    };

    return name_of(names, ARRAY_LEN(names), rule);
}

const char *policy_result_name(enum policy_result result)
{
    static const char *const names[] = {
        [POLICY_NOT_REACHED] = "not_reached", [POLICY_FAILED] = "failed",
        [POLICY_WAITING] = "waiting",         [POLICY_APPROVAL] = "approval",
        [POLICY_PASSED] = "passed",
    };

    return name_of(names, ARRAY_LEN(names), result);
}

const char *policy_kind_name(enum policy_kind kind)
{
    static const char *const names[] = {
        [POLICY_KIND_NONE] = "none",     [POLICY_KIND_PROMOTION] = "promotion",
        [POLICY_KIND_REPEAT] = "repeat", [POLICY_KIND_RESTART] = "restart",
        [POLICY_KIND_ORDER] = "order",   [POLICY_KIND_REBASELINE] = "rebaseline",
    };

    return name_of(names, ARRAY_LEN(names), kind);
}
