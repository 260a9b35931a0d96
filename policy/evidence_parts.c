/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/evidence_parts.h"

static const char *const witnesses[] = {
    [POLICY_WITNESSES_COUNT] = "count",
    [POLICY_WITNESSES_SILENCE] = "candidate+silence",
};
static const char *const statuses[] = {
    [POLICY_PENDING] = "pending",
    [POLICY_ANSWERED] = "answered",
    [POLICY_SILENT] = "silent",
};
static const char *const sessions[] = {
    [POLICY_SESSION_PENDING] = "pending",
    [POLICY_SESSION_FOUND] = "found",
    [POLICY_SESSION_MISSING] = "missing",
};
static const char *const echoes[] = {
    [POLICY_ECHO_UNASKED] = "unasked",
    [POLICY_ECHO_PENDING] = "pending",
    [POLICY_ECHO_FOUND] = "found",
    [POLICY_ECHO_MISSING] = "missing",
};
static const char *const outcomes[] = {
    [PROBE_ANSWERED] = "answered",
    [PROBE_REFUSED] = "refused",
    [PROBE_UNREACHABLE] = "unreachable",
    [PROBE_TLS_FAILED] = "tls_failed",
    [PROBE_LOGIN_REFUSED] = "login_refused",
    [PROBE_SQL_ERROR] = "sql_error",
    [PROBE_NO_ROW] = "no_row",
};
static const char *const origins[] = {
    [POLICY_ORIGIN_BASELINE] = "baseline",
    [POLICY_ORIGIN_OBSERVED] = "observed",
    [POLICY_ORIGIN_GRANTED] = "granted",
    [POLICY_ORIGIN_UNPROVEN] = "unproven",
};
static const char *const grants[] = {
    [POLICY_GRANT_UNSETTLED] = "unsettled",
    [POLICY_GRANT_SETTLED] = "settled",
};

const struct policy_words policy_cluster_words = {policy_cluster_types,
                                                  ARRAY_LEN(policy_cluster_types)};
const struct policy_words policy_restart_words = {policy_on_restarts,
                                                  ARRAY_LEN(policy_on_restarts)};
const struct policy_words policy_witnesses_words = {witnesses, ARRAY_LEN(witnesses)};
const struct policy_words policy_status_words = {statuses, ARRAY_LEN(statuses)};
const struct policy_words policy_session_words = {sessions, ARRAY_LEN(sessions)};
const struct policy_words policy_echo_words = {echoes, ARRAY_LEN(echoes)};
const struct policy_words policy_outcome_words = {outcomes, ARRAY_LEN(outcomes)};
const struct policy_words policy_origin_words = {origins, ARRAY_LEN(origins)};
const struct policy_words policy_grant_words = {grants, ARRAY_LEN(grants)};

const char *policy_outcome_word(enum probe_outcome outcome)
{
    return outcome < ARRAY_LEN(outcomes) && outcomes[outcome] ? outcomes[outcome] : "unknown";
}

#define RULE(member)                                                                               \
    {                                                                                              \
#member, offsetof(struct policy_group, member)                                             \
    }
const struct policy_member policy_rules_numbers[POLICY_RULES_NUMBERS] = {
    RULE(rival_wait_ms), RULE(dead_for_ms), RULE(window_ms),
    RULE(retries),       RULE(brake),       RULE(approvals),
};

#define STATE(member)                                                                              \
    {                                                                                              \
#member, offsetof(struct probe_state, member)                                              \
    }
const struct policy_member policy_state_numbers[POLICY_STATE_NUMBERS] = {
    STATE(cluster_type),           STATE(role),
    STATE(operational_state),      STATE(recovery_health),
    STATE(synchronization_health), STATE(synchronization_state),
    STATE(database_state),
};
const struct policy_member policy_state_flags[POLICY_STATE_FLAGS] = {
    STATE(is_read_write),
    STATE(is_forwarder),
};
