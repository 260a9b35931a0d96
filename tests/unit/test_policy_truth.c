/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision against an oracle that is written from the rules' text over small codes, not over
 * the facts: every combination of the codes that one rule depends on.
 */
#include "policy_scene.h"

#define WINDOW 86400000

static struct scene scene;
static struct scene stages[2]; /* as scene_init leaves it for WSFC and EXTERNAL */

static int set_up(void **state)
{
    (void)state;
    scene_init(&stages[WSFC], 3, WSFC);
    scene_init(&stages[EXTERNAL], 3, EXTERNAL);
    return 0;
}

static void expect(enum policy_outcome expected, const char *what, size_t index)
{
    enum policy_outcome outcome = scene_decide(&scene);

    if (outcome != expected)
        fail_msg("%s %zu: %s (%s), expected %s", what, index, policy_outcome_name(outcome),
                 reason_code(scene.verdict.reason), policy_outcome_name(expected));
}

/* ---- Rules 1 and 2: the candidate is B; the others stand behind it. */

struct candidate {
    int spoken; /* 0 pending, 1 silent, 2 refused, 3 TLS failed, 4 answered */
    int role, operational, recovery, database, is_writable, is_named, is_forwarder;
    int cluster; /* index of clusters */
    int expected;
    int session;
};

static const struct {
    int32_t type, quorum; /* quorum -1: no row */
    bool is_approved_only;
    bool is_never;
} clusters[] = {
    {WSFC, 1, false, false},     {WSFC, 0, false, true},  {WSFC, -1, false, true},
    {WSFC, 2, true, false},      {WSFC, 3, false, true},  {EXTERNAL, -1, false, false},
    {EXTERNAL, 2, false, false}, {NONE, -1, true, false}, {-1, 1, false, true},
    {3, 1, false, true},
};

static enum policy_outcome judge_candidate(const struct candidate *c)
{
    bool is_expected = c->expected == POLICY_CLUSTER_ANY ||
                       (int)clusters[c->cluster].type == c->expected - POLICY_CLUSTER_WSFC;

    if (c->spoken < 4)
        return c->spoken == 0 ? POLICY_WAIT : POLICY_DENY;
    if (c->role != PRIMARY || c->operational != 2 || c->recovery != 1 || c->database != 0 ||
        !c->is_writable || !c->is_named || c->is_forwarder || !is_expected ||
        clusters[c->cluster].is_never || c->session == POLICY_SESSION_MISSING)
        return POLICY_DENY;
    if (c->session == POLICY_SESSION_PENDING)
        return POLICY_WAIT;
    return clusters[c->cluster].is_approved_only ? POLICY_NEEDS_APPROVAL : POLICY_ALLOW;
}

static void pose_candidate(const struct candidate *c)
{
    static const enum probe_outcome outcomes[] = {
        [2] = PROBE_REFUSED, [3] = PROBE_TLS_FAILED, [4] = PROBE_ANSWERED};
    struct policy_replica_facts *known;

    scene = stages[WSFC];
    known = scene_of(&scene, B);
    known->state.cluster_type = clusters[c->cluster].type;
    known->status = c->spoken == 0   ? POLICY_PENDING
                    : c->spoken == 1 ? POLICY_SILENT
                                     : POLICY_ANSWERED;
    known->state.outcome = outcomes[c->spoken];
    known->state.role = c->role;
    known->state.operational_state = c->operational;
    known->state.recovery_health = c->recovery;
    known->state.database_state = c->database;
    known->state.is_read_write = c->is_writable;
    known->state.is_forwarder = c->is_forwarder;
    known->state.has_quorum_row = clusters[c->cluster].quorum >= 0;
    known->state.quorum_state = clusters[c->cluster].quorum;
    known->state.has_sequence_number = true;
    known->state.sequence_number = 40;
    if (!c->is_named)
        scene_text(known->state.server_name, "SQLX");
    scene.rules.cluster_type = (enum policy_cluster_type)c->expected;
    scene.facts.session = (enum policy_session)c->session;
    scene.facts.elapsed_ms = 5000;
}

/* A number in a mixed base: each call takes one digit off. */
static int digit(size_t *number, size_t base)
{
    size_t value = *number % base;

    *number /= base;
    return (int)value;
}

static void test_candidate_and_session(void **state)
{
    const size_t combinations = (size_t)5 * 3 * 2 * 2 * 2 * 2 * 2 * 2 * 10 * 4 * 3;

    (void)state;
    for (size_t i = 0; i < combinations; i++) {
        size_t number = i;
        struct candidate c;

        c.spoken = 4 - digit(&number, 5);
        c.role = digit(&number, 3);
        c.operational = 1 + digit(&number, 2);
        c.recovery = digit(&number, 2);
        c.database = 2 * digit(&number, 2);
        c.is_writable = digit(&number, 2);
        c.is_named = digit(&number, 2);
        c.is_forwarder = digit(&number, 2);
        c.cluster = digit(&number, 10);
        c.expected = digit(&number, 4);
        c.session = POLICY_SESSION_PENDING + digit(&number, 3);
        pose_candidate(&c);
        expect(judge_candidate(&c), "candidate", i);
    }
}

/* ---- Rules 3 and 4: what A and C say. */

/* 0 pending, 1 silent, 2 refused, 3 TLS failed; 4 ...: role * 4 + named, twice (true, false name)
 */
#define SPEECHES (4 + 2 * 12)
static const char *const named[] = {"SQLA", "SQLB", "SQLC", NULL};

struct voices {
    int speech[3];   /* of A, B (its name only), C */
    bool is_dead[3]; /* so the watch says */
    size_t needed;
    int64_t elapsed_ms;
};

static bool has_answered(const struct voices *v, size_t i)
{
    return v->speech[i] >= 4;
}

/* What it names, if its word counts; 3 is nobody. */
static int vote(const struct voices *v, size_t i)
{
    return has_answered(v, i) && v->speech[i] < 16 ? (v->speech[i] - 4) % 4 : 3;
}

static bool is_rival(const struct voices *v, size_t i)
{
    return has_answered(v, i) && (v->speech[i] - 4) % 12 / 4 == PRIMARY;
}

/* Replica i answered at 10 * (i + 1) ms, so its votes come in the order of the letters. */
static enum policy_outcome judge_voices(const struct voices *v, int64_t *ret_until_ms)
{
    size_t votes[4] = {0}, hopes = 0;
    int64_t sufficed_ms = -1;
    bool is_open = false, is_rivalled = is_rival(v, A) || is_rival(v, C);

    for (size_t i = A; i <= C; i++) {
        bool is_buried = v->speech[i] == 2 || (v->speech[i] < 2 && v->is_dead[i]);

        votes[vote(v, i)]++;
        if (vote(v, i) == B && votes[B] == v->needed)
            sufficed_ms = 10 * ((int64_t)i + 1);
        hopes += v->speech[i] == 0 && !is_buried;
        is_open |= !has_answered(v, i) && !is_buried;
    }
    *ret_until_ms = POLICY_NO_DEADLINE;
    if (votes[B] < v->needed || votes[A] >= votes[B] || votes[C] >= votes[B])
        return hopes > 0 && votes[B] + hopes >= v->needed ? POLICY_WAIT : POLICY_DENY;
    if (is_rivalled)
        return POLICY_NEEDS_APPROVAL;
    if (!is_open || v->elapsed_ms >= sufficed_ms + 300)
        return POLICY_ALLOW;
    *ret_until_ms = sufficed_ms + 300;
    return POLICY_WAIT;
}

static void pose_voice(size_t replica, int speech, bool is_dead)
{
    struct policy_replica_facts *known = scene_of(&scene, replica);
    int words = (speech - 4) % 12;

    known->history.dead_for_ms = is_dead ? POLICY_DEAD_MS : POLICY_DEAD_MS - 1;
    if (speech == 0)
        scene_pending(&scene, replica);
    else if (speech == 1)
        scene_silent(&scene, replica);
    else if (speech == 2)
        scene_dead(&scene, replica);
    else if (speech == 3)
        known->state.outcome = PROBE_TLS_FAILED;
    else
        scene_says(&scene, replica, words / 4, named[words % 4]);
    if (speech >= 16)
        scene_text(known->state.server_name, "SQLX");
}

static void test_witnesses_and_rivals(void **state)
{
    static const int64_t times[] = {30, 309, 310, 319, 320, 329, 330, 5000};
    const size_t combinations = (size_t)SPEECHES * SPEECHES * 2 * 2 * 4 * 3 * ARRAY_LEN(times);

    (void)state;
    for (size_t i = 0; i < combinations; i++) {
        size_t number = i;
        struct voices v = {0};
        int64_t until_ms;
        enum policy_outcome expected;

        v.speech[A] = digit(&number, SPEECHES);
        v.speech[C] = digit(&number, SPEECHES);
        v.is_dead[A] = digit(&number, 2);
        v.is_dead[C] = digit(&number, 2);
        v.speech[B] = 4 + 4 * PRIMARY + digit(&number, 4);
        v.needed = 1 + (size_t)digit(&number, 3);
        v.elapsed_ms = times[digit(&number, ARRAY_LEN(times))];
        scene = stages[WSFC];
        scene.rules.witness_count = v.needed;
        scene.facts.elapsed_ms = v.elapsed_ms;
        for (size_t replica = A; replica <= C; replica++)
            pose_voice(replica, v.speech[replica], v.is_dead[replica]);
        expected = judge_voices(&v, &until_ms);
        expect(expected, "voices", i);
        if (expected == POLICY_WAIT)
            assert_true(scene.verdict.wait_until_ms == until_ms);
    }
}

/* EXTERNAL: what A and C know of the sequence number; B's is 40. */
static void test_sequence_numbers(void **state)
{
    static const int64_t numbers[] = {0, 39, 40, 41, INT64_MIN, INT64_MAX}; /* 0: unknown */

    (void)state;
    for (size_t i = 0; i < (size_t)6 * 6 * 2 * 2 * 2; i++) {
        size_t number = i;
        int64_t of_a = numbers[digit(&number, 6)], of_c = numbers[digit(&number, 6)];
        bool is_known = digit(&number, 2), is_rivalled = digit(&number, 2);
        bool is_c_silent = digit(&number, 2);
        bool is_maximum = is_known && of_a <= 40 && (is_c_silent || of_c <= 40);

        scene = stages[EXTERNAL];
        scene.facts.elapsed_ms = 5000;
        scene_of(&scene, B)->state.has_sequence_number = is_known;
        scene_of(&scene, A)->state.has_sequence_number = of_a != 0;
        scene_of(&scene, A)->state.sequence_number = of_a;
        scene_of(&scene, C)->state.has_sequence_number = of_c != 0;
        scene_of(&scene, C)->state.sequence_number = of_c;
        if (is_rivalled)
            scene_of(&scene, A)->state.role = PRIMARY;
        if (is_c_silent)
            scene_silent(&scene, C);
        expect(!is_maximum   ? POLICY_DENY
               : is_rivalled ? POLICY_NEEDS_APPROVAL
                             : POLICY_ALLOW,
               "sequence numbers", i);
    }
}

/* ---- Rules 5 and 6: the proof stands; what the ledger holds. */

struct book {
    int record;  /* 0 none, 1 of A, 2 of B */
    int origin;  /* 0 is no origin at all */
    int grant;   /* 0 is no state at all */
    int grantee; /* A or B */
    int64_t requests, epoch_age_ms, grant_age_ms;
    int lsn;      /* 0 unknown, 1 the same, 2 another, 3 MaxLSN */
    int sequence; /* 0 unknown, 1 the same, 2 smaller, 3 greater: of the hint */
    bool is_allowed, is_braked, is_ordered;
    enum act_purpose purpose;
};

static bool is_in_window(int64_t age_ms)
{
    return age_ms >= 0 && age_ms <= WINDOW;
}

/* The verdict of rule 5, and whether a release would begin an epoch. */
static enum policy_outcome judge_promotion(const struct book *b, bool *ret_mints)
{
    bool is_changed = b->lsn == 2 || b->sequence == 2;
    bool is_own = b->grantee == B;

    *ret_mints = true;
    if (b->record == 0)
        return POLICY_NEEDS_APPROVAL;
    if (b->record == 1)
        return POLICY_ALLOW;
    if (b->grant == POLICY_GRANT_NONE &&
        (b->origin == POLICY_ORIGIN_OBSERVED || b->origin == POLICY_ORIGIN_GRANTED)) {
        *ret_mints = false;
        return is_in_window(b->epoch_age_ms) ? POLICY_ALLOW : POLICY_NEEDS_APPROVAL;
    }
    if (b->grant == POLICY_GRANT_NONE && b->origin == POLICY_ORIGIN_UNPROVEN)
        *ret_mints = false;
    if (b->grant != POLICY_GRANT_NONE && !is_own)
        return POLICY_DENY;
    if (b->grant == POLICY_GRANT_UNSETTLED) {
        *ret_mints = false;
        return is_in_window(b->grant_age_ms) && b->requests < 1 + 5 ? POLICY_ALLOW
                                                                    : POLICY_NEEDS_APPROVAL;
    }
    return b->is_allowed && is_changed ? POLICY_ALLOW : POLICY_NEEDS_APPROVAL;
}

static enum policy_outcome judge_book(const struct book *b, bool *ret_mints)
{
    enum policy_outcome outcome = judge_promotion(b, ret_mints);

    if (b->purpose != PURPOSE_PROMOTE) {
        *ret_mints = b->record != 2;
        outcome = b->is_ordered ? POLICY_ALLOW : POLICY_DENY;
    }
    return outcome == POLICY_ALLOW && b->is_braked ? POLICY_NEEDS_APPROVAL : outcome;
}

static void pose_book(const struct book *b)
{
    static const char *const lsns[] = {"", "35000000012300001", "34000000012300001", MAX_LSN};
    static const int64_t sequences[] = {0, 41, 40, 42};
    struct probe_state *candidate;

    scene = stages[WSFC];
    candidate = &scene_of(&scene, B)->state;
    scene_text(candidate->recovery_lsn, lsns[1]);
    candidate->has_sequence_number = true;
    candidate->sequence_number = 41;
    scene.ledger = (struct policy_ledger){
        .has_record = b->record != 0,
        .epoch = 7,
        .origin = (enum policy_origin)b->origin,
        .epoch_age_ms = b->epoch_age_ms,
        .grant = {.state = (enum policy_grant_state)b->grant,
                  .requests = b->requests,
                  .age_ms = b->grant_age_ms},
        .hints = {.has_sequence_number = b->sequence != 0,
                  .sequence_number = sequences[b->sequence]},
        .releases_last_hour = b->is_braked ? 6 : 5,
    };
    scene_text(scene.ledger.primary, b->record == 1 ? "a" : "b");
    scene_text(scene.ledger.grant.replica, b->grantee == A ? "a" : "b");
    scene_text(scene.ledger.hints.recovery_lsn, lsns[b->lsn]);
    scene.rules.on_restart = b->is_allowed ? POLICY_RESTART_ALLOW : POLICY_RESTART_APPROVAL;
    scene.request.purpose = b->purpose;
    scene.request.is_order_valid = b->is_ordered;
}

static void test_ledger(void **state)
{
    static const int64_t ages[] = {POLICY_NEVER, 0, WINDOW, WINDOW + 1};
    static const int64_t requests[] = {1, 5, 6};
    static const enum act_purpose purposes[] = {PURPOSE_PROMOTE, PURPOSE_ROTATE, PURPOSE_DRILL};
    const size_t combinations = (size_t)3 * 5 * 4 * 2 * 3 * 4 * 4 * 4 * 4 * 2 * 2 * 3 * 2;

    (void)state;
    for (size_t i = 0; i < combinations; i++) {
        size_t number = i;
        struct book b;
        bool mints_epoch;
        enum policy_outcome expected;

        b.record = digit(&number, 3);
        b.origin = digit(&number, 5);
        b.grant = digit(&number, 4);
        b.grantee = digit(&number, 2);
        b.requests = requests[digit(&number, 3)];
        b.epoch_age_ms = ages[digit(&number, 4)];
        b.grant_age_ms = ages[digit(&number, 4)];
        b.lsn = digit(&number, 4);
        b.sequence = digit(&number, 4);
        b.is_allowed = digit(&number, 2);
        b.is_braked = digit(&number, 2);
        b.purpose = purposes[digit(&number, 3)];
        b.is_ordered = digit(&number, 2);
        pose_book(&b);
        expected = judge_book(&b, &mints_epoch);
        expect(expected, "ledger", i);
        if (expected != POLICY_DENY)
            assert_int_equal(scene.verdict.mints_epoch, mints_epoch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_candidate_and_session),
        cmocka_unit_test(test_witnesses_and_rivals),
        cmocka_unit_test(test_sequence_numbers),
        cmocka_unit_test(test_ledger),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
