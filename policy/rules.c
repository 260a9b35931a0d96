/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/rules.h"

#include <string.h>
#include <strings.h>

/* SQL Server's numbers (sys.dm_hadr_availability_replica_states, sys.dm_hadr_cluster). */
enum {
    OPERATIONAL_ONLINE = 2,
    RECOVERY_ONLINE = 1,
    QUORUM_NORMAL = 1,
    QUORUM_FORCED = 2,
};

struct policy_step policy_step_passed(void)
{
    return (struct policy_step){POLICY_PASSED, REASON_NONE};
}

struct policy_step policy_step_failed(enum reason reason)
{
    return (struct policy_step){POLICY_FAILED, reason};
}

struct policy_step policy_step_waiting(enum reason reason)
{
    return (struct policy_step){POLICY_WAITING, reason};
}

struct policy_step policy_step_approval(enum reason reason)
{
    return (struct policy_step){POLICY_APPROVAL, reason};
}

const struct policy_replica_facts *policy_facts_of(const struct policy_facts *facts,
                                                   const struct policy_replica *replica)
{
    static const struct policy_replica_facts silent = {.status = POLICY_SILENT};

    for (size_t i = 0; i < facts->replica_count && i < POLICY_REPLICAS_MAX; i++) {
        if (strcmp(facts->replicas[i].instance, replica->instance) == 0)
            return &facts->replicas[i];
    }
    return &silent;
}

/* It told its state. Failures to connect, to log in or to find the group tell nothing. */
static bool has_spoken(const struct policy_replica_facts *known)
{
    return known->status == POLICY_ANSWERED && known->state.outcome == PROBE_ANSWERED;
}

/* Nothing listens there, so no primary lives there. */
static bool is_dead(const struct policy_replica_facts *known)
{
    if (known->status == POLICY_ANSWERED)
        return known->state.outcome == PROBE_REFUSED;
    return known->history.is_known && known->history.dead_for_ms >= POLICY_DEAD_MS;
}

static bool says_primary(const struct policy_replica_facts *known)
{
    return has_spoken(known) && known->state.role == PROBE_ROLE_PRIMARY;
}

static bool bears_name(const struct policy_replica_facts *known,
                       const struct policy_replica *replica)
{
    return strcasecmp(known->state.server_name, replica->server_name) == 0;
}

/* The primary that a replica names; NULL: it names none, or is not the server it should be. */
static const char *named_by(const struct policy_proof *proof, const struct policy_replica *replica)
{
    const struct policy_replica_facts *known = policy_facts_of(proof->facts, replica);

    if (!has_spoken(known) || !bears_name(known, replica) || !known->state.primary_replica[0])
        return NULL;
    return known->state.primary_replica;
}

static size_t count_naming(const struct policy_proof *proof, const char *server_name)
{
    size_t count = 0;

    for (size_t i = 0; i < proof->rules->replica_count; i++) {
        const char *named = named_by(proof, &proof->rules->replicas[i]);

        if (named && strcasecmp(named, server_name) == 0)
            count++;
    }
    return count;
}

struct policy_step policy_rule_instance(const struct policy_proof *proof)
{
    const struct policy_replica_facts *known = policy_facts_of(proof->facts, proof->candidate);

    if (known->status == POLICY_PENDING)
        return policy_step_waiting(REASON_CANDIDATE_UNREACHABLE);
    if (!has_spoken(known))
        return policy_step_failed(REASON_CANDIDATE_UNREACHABLE);
    if (!bears_name(known, proof->candidate))
        return policy_step_failed(REASON_CANDIDATE_NAME_MISMATCH);
    if (known->state.role != PROBE_ROLE_PRIMARY)
        return policy_step_failed(REASON_CANDIDATE_NOT_PRIMARY);
    if (known->state.operational_state != OPERATIONAL_ONLINE ||
        known->state.recovery_health != RECOVERY_ONLINE)
        return policy_step_failed(REASON_CANDIDATE_NOT_ONLINE);
    if (known->state.is_forwarder)
        return policy_step_failed(REASON_CANDIDATE_FORWARDER);
    return policy_step_passed();
}

struct policy_step policy_rule_database(const struct policy_proof *proof)
{
    const struct policy_replica_facts *known = policy_facts_of(proof->facts, proof->candidate);

    if (known->state.database_state != PROBE_DATABASE_ONLINE)
        return policy_step_failed(REASON_CANDIDATE_NOT_ONLINE);
    if (!known->state.is_read_write)
        return policy_step_failed(REASON_CANDIDATE_NOT_WRITABLE);
    return policy_step_passed();
}

static bool is_expected_cluster(enum policy_cluster_type expected, int32_t type)
{
    switch (expected) {
    case POLICY_CLUSTER_ANY:
        return type == PROBE_CLUSTER_WSFC || type == PROBE_CLUSTER_EXTERNAL ||
               type == PROBE_CLUSTER_NONE;
    case POLICY_CLUSTER_WSFC:
        return type == PROBE_CLUSTER_WSFC;
    case POLICY_CLUSTER_EXTERNAL:
        return type == PROBE_CLUSTER_EXTERNAL;
    case POLICY_CLUSTER_NONE:
        return type == PROBE_CLUSTER_NONE;
    }
    return false;
}

struct policy_step policy_rule_cluster(const struct policy_proof *proof)
{
    const struct probe_state *state = &policy_facts_of(proof->facts, proof->candidate)->state;

    if (!is_expected_cluster(proof->rules->cluster_type, state->cluster_type))
        return policy_step_failed(REASON_CLUSTER_TYPE_MISMATCH);
    if (state->cluster_type == PROBE_CLUSTER_NONE)
        return policy_step_approval(REASON_CLUSTER_TYPE_NONE);
    if (state->cluster_type == PROBE_CLUSTER_EXTERNAL)
        return policy_step_passed();
    if (!state->has_quorum_row)
        return policy_step_failed(REASON_CANDIDATE_NO_QUORUM);
    if (state->quorum_state == QUORUM_FORCED)
        return policy_step_approval(REASON_FORCED_QUORUM);
    if (state->quorum_state != QUORUM_NORMAL)
        return policy_step_failed(REASON_CANDIDATE_NO_QUORUM);
    return policy_step_passed();
}

/* EXTERNAL: the replica with the newest configuration is the one that was promoted last. */
static bool has_maximum_sequence(const struct policy_proof *proof)
{
    const struct probe_state *own = &policy_facts_of(proof->facts, proof->candidate)->state;

    if (own->cluster_type != PROBE_CLUSTER_EXTERNAL)
        return true;
    if (!own->has_sequence_number)
        return false;
    for (size_t i = 0; i < proof->rules->replica_count; i++) {
        const struct policy_replica *replica = &proof->rules->replicas[i];
        const struct policy_replica_facts *known = policy_facts_of(proof->facts, replica);

        if (has_spoken(known) && bears_name(known, replica) && known->state.has_sequence_number &&
            known->state.sequence_number > own->sequence_number)
            return false;
    }
    return true;
}

/*
 * Another server is named as often as the candidate. A majority rules that out by itself; it counts
 * where the policy asks for fewer witnesses.
 */
static bool is_contested(const struct policy_proof *proof)
{
    for (size_t i = 0; i < proof->rules->replica_count; i++) {
        const char *named = named_by(proof, &proof->rules->replicas[i]);

        if (named && strcasecmp(named, proof->candidate->server_name) != 0 &&
            count_naming(proof, named) >= proof->witnesses)
            return true;
    }
    return false;
}

static size_t count_pending(const struct policy_proof *proof)
{
    size_t count = 0;

    for (size_t i = 0; i < proof->rules->replica_count; i++) {
        const struct policy_replica_facts *known =
            policy_facts_of(proof->facts, &proof->rules->replicas[i]);

        if (known->status == POLICY_PENDING && !is_dead(known))
            count++;
    }
    return count;
}

/* When the last of the first witness_count witnesses answered. */
static int64_t time_of_sufficient(const struct policy_proof *proof)
{
    int64_t earliest = INT64_MAX;

    for (size_t i = 0; i < proof->rules->replica_count; i++) {
        int64_t answered = policy_facts_of(proof->facts, &proof->rules->replicas[i])->answered_ms;
        size_t by_then = 0;

        for (size_t j = 0; j < proof->rules->replica_count; j++) {
            const struct policy_replica *replica = &proof->rules->replicas[j];
            const char *named = named_by(proof, replica);

            if (named && strcasecmp(named, proof->candidate->server_name) == 0 &&
                policy_facts_of(proof->facts, replica)->answered_ms <= answered)
                by_then++;
        }
        if (by_then >= proof->rules->witness_count && answered < earliest)
            earliest = answered;
    }
    return earliest;
}

static void wait_until(struct policy_proof *proof, int64_t ms)
{
    if (ms < proof->wait_until_ms)
        proof->wait_until_ms = ms;
}

static struct policy_step witnessed(struct policy_proof *proof, int64_t sufficed_ms)
{
    proof->is_witnessed = true;
    proof->sufficed_ms = sufficed_ms;
    return policy_step_passed();
}

/*
 * candidate+silence: the quorum of its Windows cluster stands behind the candidate, and the watch
 * itself saw it as a healthy secondary of the other replica, which has not been PRIMARY since.
 */
static struct policy_step rule_silence(struct policy_proof *proof)
{
    const struct policy_group *rules = proof->rules;
    const struct policy_replica *other =
        &rules->replicas[rules->replicas[0].instance == proof->candidate->instance];
    const struct policy_replica_facts *own = policy_facts_of(proof->facts, proof->candidate);
    const struct policy_replica_facts *gone = policy_facts_of(proof->facts, other);
    int64_t missing_ms = rules->dead_for_ms - gone->history.primary_ago_ms;

    if (proof->witnesses != 1 || is_contested(proof) || says_primary(gone) ||
        own->state.cluster_type != PROBE_CLUSTER_WSFC || !own->state.has_quorum_row ||
        own->state.quorum_state != QUORUM_NORMAL)
        return policy_step_failed(REASON_WITNESSES_MISSING);
    if (!own->history.is_known || !own->history.was_synchronised || !gone->history.is_known ||
        gone->history.primary_ago_ms < 0)
        return policy_step_failed(REASON_SILENCE_UNPROVEN);
    if (missing_ms > 0) {
        wait_until(proof, proof->facts->elapsed_ms + missing_ms);
        return policy_step_waiting(REASON_SILENCE_UNPROVEN);
    }
    proof->is_by_silence = true;
    return witnessed(proof, own->answered_ms);
}

struct policy_step policy_rule_witnesses(struct policy_proof *proof)
{
    const struct policy_group *rules = proof->rules;
    size_t pending = count_pending(proof);
    struct policy_step step = policy_step_failed(REASON_WITNESSES_MISSING);

    proof->witnesses = count_naming(proof, proof->candidate->server_name);
    if (!has_maximum_sequence(proof))
        return policy_step_failed(REASON_SEQUENCE_NOT_MAXIMUM);
    if (proof->witnesses >= rules->witness_count && !is_contested(proof))
        return witnessed(proof, time_of_sufficient(proof));
    if (rules->witnesses == POLICY_WITNESSES_SILENCE && rules->replica_count == 2)
        step = rule_silence(proof);
    if (step.result == POLICY_FAILED && pending > 0 &&
        proof->witnesses + pending >= rules->witness_count)
        return policy_step_waiting(step.reason);
    return step;
}

struct policy_step policy_rule_rival(struct policy_proof *proof)
{
    const struct policy_group *rules = proof->rules;
    bool is_complete = true;

    for (size_t i = 0; i < rules->replica_count; i++) {
        const struct policy_replica *replica = &rules->replicas[i];
        const struct policy_replica_facts *known = policy_facts_of(proof->facts, replica);

        if (replica == proof->candidate)
            continue;
        if (says_primary(known))
            return policy_step_approval(REASON_RIVAL_PRIMARY);
        is_complete &= has_spoken(known) || is_dead(known);
    }
    if (is_complete)
        return policy_step_passed();
    if (!proof->is_witnessed)
        return policy_step_waiting(REASON_RIVAL_PRIMARY);
    if (proof->facts->elapsed_ms - proof->sufficed_ms >= rules->rival_wait_ms)
        return policy_step_passed();
    wait_until(proof, proof->sufficed_ms + rules->rival_wait_ms);
    return policy_step_waiting(REASON_RIVAL_PRIMARY);
}

bool policy_echo_counts(const struct policy_replica *replica,
                        const struct policy_replica_facts *known)
{
    return has_spoken(known) && bears_name(known, replica) &&
           known->state.role == PROBE_ROLE_SECONDARY;
}

/* Only who says SECONDARY has what the candidate wrote by way of the group's own log. */
struct policy_step policy_rule_echo(const struct policy_proof *proof)
{
    bool may_come = false;

    if (!proof->rules->wants_echo)
        return policy_step_passed();
    for (size_t i = 0; i < proof->rules->replica_count; i++) {
        const struct policy_replica *replica = &proof->rules->replicas[i];
        const struct policy_replica_facts *known = policy_facts_of(proof->facts, replica);
        bool counts = policy_echo_counts(replica, known);

        if (counts && known->echo == POLICY_ECHO_FOUND)
            return policy_step_passed();
        may_come |= counts && known->echo == POLICY_ECHO_PENDING;
        may_come |= known->status == POLICY_PENDING && !is_dead(known);
    }
    return may_come ? policy_step_waiting(REASON_ECHO_MISSING)
                    : policy_step_approval(REASON_ECHO_MISSING);
}
