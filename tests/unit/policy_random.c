/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_random.h"

#include <stdlib.h>

size_t random_below(struct random *random, size_t bound)
{
    /* xorshift64 (Marsaglia 2003) */
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return (size_t)((random->state >> 11) % bound);
}

/* True once in n. */
static bool rarely(struct random *random, size_t n)
{
    return random_below(random, n) == 0;
}

static int64_t pick(struct random *random, const int64_t *values, size_t count)
{
    return values[random_below(random, count)];
}
#define PICK(random, ...)                                                                          \
    pick(random, (const int64_t[]){__VA_ARGS__}, ARRAY_LEN(((const int64_t[]){__VA_ARGS__})))

static void disturb_state(struct random *random, struct probe_state *state)
{
    static const char *const names[] = {"SQLA", "SQLB", "sqlc", "", "SQLX\n", "\xff\xfe"};

    if (rarely(random, 6))
        state->outcome =
            (enum probe_outcome)PICK(random, PROBE_REFUSED, PROBE_UNREACHABLE, PROBE_TLS_FAILED,
                                     PROBE_LOGIN_REFUSED, PROBE_SQL_ERROR, PROBE_NO_ROW);
    if (state->outcome != PROBE_ANSWERED) {
        state->sql_error = (int32_t)PICK(random, 0, 976, 18456);
        scene_text(state->diagnosis, "a line\x1b[31m of diagnosis");
    }
    if (rarely(random, 6))
        state->role = (int32_t)random_below(random, 3);
    if (rarely(random, 5))
        scene_text(state->primary_replica, names[random_below(random, ARRAY_LEN(names))]);
    if (rarely(random, 30))
        scene_text(state->server_name, names[random_below(random, ARRAY_LEN(names))]);
    if (rarely(random, 30))
        state->operational_state = (int32_t)PICK(random, -1, 0, 1);
    if (rarely(random, 30))
        state->database_state = (int32_t)PICK(random, -1, 1, 2);
    if (rarely(random, 30))
        state->cluster_type = (int32_t)PICK(random, -1, 0, 1, 2);
    if (rarely(random, 30))
        state->has_quorum_row = false;
    if (rarely(random, 15))
        state->quorum_state = (int32_t)PICK(random, 0, 1, 2);
    if (rarely(random, 30))
        state->is_forwarder = true;
    state->has_sequence_number = !rarely(random, 5);
    state->sequence_number = state->has_sequence_number ? PICK(random, 40, 40, 40, 41) : 0;
    scene_text(state->recovery_lsn, rarely(random, 2) ? MAX_LSN : "35000000012300001");
}

static void disturb_replica(struct random *random, struct policy_replica_facts *known)
{
    disturb_state(random, &known->state);
    known->answered_ms = PICK(random, 0, 5, 50, 299, 300);
    if (rarely(random, 5))
        known->status = rarely(random, 2) ? POLICY_PENDING : POLICY_SILENT;
    known->echo = (enum policy_echo)PICK(random, POLICY_ECHO_UNASKED, POLICY_ECHO_PENDING,
                                         POLICY_ECHO_FOUND, POLICY_ECHO_FOUND, POLICY_ECHO_MISSING);
    known->history.is_known = !rarely(random, 6);
    known->history.dead_for_ms = PICK(random, 0, 0, 999, 1000, 60000);
    known->history.primary_ago_ms = PICK(random, POLICY_NEVER, 0, 4999, 5000, 60000);
    known->history.was_synchronised = !rarely(random, 3);
    known->history.silent_for_ms = PICK(random, POLICY_NEVER, 0, 1000);
}

static void disturb_ledger(struct random *random, struct scene *scene)
{
    struct policy_ledger *ledger = &scene->ledger;

    if (rarely(random, 2))
        scene_records(scene, random_below(random, 2) ? B : A,
                      (enum policy_origin)PICK(random, 1, 2, 3));
    if (rarely(random, 2))
        scene_granted(scene, rarely(random, 2) ? POLICY_GRANT_SETTLED : POLICY_GRANT_UNSETTLED,
                      PICK(random, 1, 5, 6));
    if (ledger->grant.state != POLICY_GRANT_NONE && rarely(random, 5))
        scene_text(ledger->grant.replica, "a");
    ledger->epoch_age_ms = PICK(random, POLICY_NEVER, 0, 1000, 86400000, 86400001);
    ledger->grant.age_ms = PICK(random, POLICY_NEVER, 0, 1000, 86400000, 86400001);
    ledger->has_record = !rarely(random, 10);
    if (!ledger->has_record)
        ledger->epoch = 0;
    ledger->releases_last_hour = PICK(random, 0, 1, 5, 6);
    ledger->hints.has_sequence_number = rarely(random, 2);
    ledger->hints.sequence_number =
        ledger->hints.has_sequence_number ? PICK(random, 39, 40, 41) : 0;
    scene_text(ledger->hints.recovery_lsn, rarely(random, 2) ? "" : "34000000012300001");
}

void random_scene(struct random *random, struct scene *ret_scene)
{
    struct scene *scene = ret_scene;
    size_t replicas = 2 + random_below(random, 4);

    scene_init(scene, replicas, rarely(random, 2) ? EXTERNAL : WSFC);
    if (rarely(random, 8))
        scene->rules.witness_count = 1 + random_below(random, replicas);
    if (replicas == 2 && !rarely(random, 3))
        scene->rules.witnesses = POLICY_WITNESSES_SILENCE;
    scene->rules.wants_echo = rarely(random, 3);
    scene->rules.on_restart = rarely(random, 2) ? POLICY_RESTART_ALLOW : POLICY_RESTART_APPROVAL;
    scene->request.purpose =
        (enum act_purpose)PICK(random, PURPOSE_PROMOTE, PURPOSE_PROMOTE, PURPOSE_ROTATE);
    scene->request.is_order_valid = rarely(random, 2);
    if (rarely(random, 2))
        scene->request.approval = (struct policy_approval){
            .count = PICK(random, 1, 2, 2, 3),
            .epoch = (uint64_t)PICK(random, 1, 7, 8, 8, 9),
            .rules = (unsigned)random_below(random, 1U << POLICY_RULE_COUNT)};
    if (rarely(random, 8))
        scene_asks(scene, random_below(random, replicas));
    scene->facts.elapsed_ms = PICK(random, 300, 350, 600, 5000);
    if (rarely(random, 8))
        scene->facts.session = rarely(random, 2) ? POLICY_SESSION_PENDING : POLICY_SESSION_MISSING;
    for (size_t i = 0; i < replicas; i++)
        disturb_replica(random, scene_of(scene, i));
    disturb_ledger(random, scene);
}
