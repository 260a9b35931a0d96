/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What promotion.pml says of decisions and of the ledger is what the code does: every case of
 * rules.h against policy_decide and policy_observe, and every history of the ledger up to HISTORY
 * records against the fold.
 */
#include "escrowd/audit.h"
#include "ledger_scene.h"
#include "libescrow/cleanup.h"
#include "policy_scene.h"
#include "tests/model/rules.h"

#define REPLICAS 3
#define CANDIDATE B
#define NEEDED 2
#define RETRIES 1
#define HISTORY 4
/* One history of so many, unless ESCROW_TEST_ALL is 1: with every first and every last event. */
#define SAMPLE 7

struct model_ledger {
    bool known;
    size_t primary;
    int origin, grant;
    size_t holder;
    int64_t requests;
};

static const char *const instances[REPLICAS] = {"a", "b", "c"};
static const char *const servers[REPLICAS] = {"SQLA", "SQLB", "SQLC"};

/* The values of the model are those of the code. */
_Static_assert(ORIGIN_BASELINE == POLICY_ORIGIN_BASELINE, "origin");
_Static_assert(ORIGIN_OBSERVED == POLICY_ORIGIN_OBSERVED, "origin");
_Static_assert(ORIGIN_GRANTED == POLICY_ORIGIN_GRANTED, "origin");
_Static_assert(ORIGIN_UNPROVEN == POLICY_ORIGIN_UNPROVEN, "origin");
_Static_assert(GRANT_NONE == POLICY_GRANT_NONE, "grant");
_Static_assert(GRANT_UNSETTLED == POLICY_GRANT_UNSETTLED, "grant");
_Static_assert(GRANT_SETTLED == POLICY_GRANT_SETTLED, "grant");

static struct scene scene;

/* What the replicas say, in the model's words. */
struct answers {
    bool says, found, rival, echoed;
    size_t names;
};

/* Takes the next digit of a number that stands for one case of many. */
static unsigned digit(unsigned *number, unsigned base)
{
    unsigned value = *number % base;

    *number /= base;
    return value;
}

static void set_ledger(const struct model_ledger *ledger)
{
    scene.ledger.has_record = ledger->known;
    scene_text(scene.ledger.primary, ledger->known ? instances[ledger->primary] : "");
    scene.ledger.origin = (enum policy_origin)ledger->origin;
    scene.ledger.epoch_age_ms = 1000;
    scene.ledger.grant.state = (enum policy_grant_state)ledger->grant;
    scene.ledger.grant.requests = ledger->requests;
    scene.ledger.grant.age_ms = 1000;
    scene_text(scene.ledger.grant.replica,
               ledger->holder == NOBODY ? "" : instances[ledger->holder]);
}

#define LEDGERS (2 * 2 * 4 * 3 * 2 * 3)
/* One of LEDGERS, also such as no history makes. */
static struct model_ledger ledger_of(unsigned *number)
{
    struct model_ledger ledger = {
        .known = digit(number, 2),
        .primary = digit(number, 2) ? CANDIDATE : A,
        .origin = (int)digit(number, 4) + ORIGIN_BASELINE,
        .grant = (int)digit(number, 3) + GRANT_NONE,
    };

    ledger.holder = digit(number, 2) ? CANDIDATE : A;
    ledger.requests = digit(number, 3);
    if (ledger.grant == GRANT_NONE) {
        ledger.holder = NOBODY;
        ledger.requests = 0;
    }
    return ledger;
}

#define OTHERS 6
#define ANSWERS (2 * 2 * 2 * OTHERS * OTHERS * 3)
/* One of ANSWERS: every other replica is silent, or says PRIMARY or not and names the candidate or
 * not, and one that names the candidate as a secondary has found the echo or not. The group asks
 * for it or not. The time for rivals is over. */
static struct answers answers_of(unsigned *number)
{
    struct answers answers = {
        .says = digit(number, 2), .found = digit(number, 2), .echoed = digit(number, 2)};
    static const char *const names[] = {"SQLB", "SQLA", NULL};
    unsigned named = 0;

    scene.facts.elapsed_ms = 1000;
    scene.rules.wants_echo = !answers.echoed;
    scene.facts.session = answers.found ? POLICY_SESSION_FOUND : POLICY_SESSION_MISSING;
    for (size_t i = 0; i < REPLICAS; i++) {
        unsigned how = i == CANDIDATE ? 0 : digit(number, OTHERS);
        bool is_echo = how == OTHERS - 1;

        scene_of(&scene, i)->echo = is_echo ? POLICY_ECHO_FOUND : POLICY_ECHO_MISSING;
        answers.echoed |= is_echo;
        how = is_echo ? 0 : how;
        if (how == 4) {
            scene_silent(&scene, i);
        } else if (i != CANDIDATE) {
            scene_says(&scene, i, how / 2 ? PRIMARY : SECONDARY, names[how % 2]);
            answers.rival |= how / 2 == 1;
            answers.names += how % 2 == 0;
        }
    }
    named = digit(number, 3);
    scene_says(&scene, CANDIDATE, answers.says ? PRIMARY : SECONDARY, names[named]);
    answers.names += named == 0;
    return answers;
}

static enum policy_outcome outcome_of(struct model_ledger l, const struct answers *answers,
                                      bool is_approved)
{
    if (IS_DENIED(l, CANDIDATE, answers->says, answers->found, answers->names, NEEDED))
        return POLICY_DENY;
    return IS_FOR_ADMINS(l, CANDIDATE, answers->rival, answers->echoed, RETRIES) && !is_approved
               ? POLICY_NEEDS_APPROVAL
               : POLICY_ALLOW;
}

/* By as many admins as are needed, for whatever rule asks for it. */
static void approve_all(bool mints)
{
    scene.request.approval = (struct policy_approval){
        .count = 2, .epoch = scene.ledger.epoch + mints, .rules = (1U << POLICY_RULE_COUNT) - 1};
}

static void test_every_decision(void **state)
{
    size_t outcomes[4] = {0};

    (void)state;
    for (unsigned i = 0; i < 2 * LEDGERS * ANSWERS; i++) {
        unsigned number = i;
        struct model_ledger ledger;
        struct answers answers;
        enum policy_outcome expected;
        bool is_approved;

        scene_init(&scene, REPLICAS, WSFC);
        scene.rules.retries = RETRIES;
        ledger = ledger_of(&number);
        set_ledger(&ledger);
        answers = answers_of(&number);
        is_approved = digit(&number, 2);
        if (is_approved)
            approve_all(IS_MINTING(ledger, CANDIDATE));
        expected = outcome_of(ledger, &answers, is_approved);
        assert_int_equal(scene_decide(&scene), expected);
        if (expected == POLICY_ALLOW || expected == POLICY_NEEDS_APPROVAL)
            assert_int_equal(scene.verdict.mints_epoch, IS_MINTING(ledger, CANDIDATE));
        outcomes[expected]++;
    }
    assert_true(outcomes[POLICY_ALLOW] > 100);
    assert_true(outcomes[POLICY_NEEDS_APPROVAL] > 100);
    assert_true(outcomes[POLICY_DENY] > 100);
}

/* The watch asks for no session, and sees whichever replica is the primary. */
static void test_every_observation(void **state)
{
    size_t observed = 0;

    (void)state;
    for (unsigned i = 0; i < LEDGERS * ANSWERS; i++) {
        const struct policy_replica *primary;
        unsigned number = i;
        struct model_ledger l;
        struct answers answers;
        enum policy_observation observation;

        scene_init(&scene, REPLICAS, WSFC);
        l = ledger_of(&number);
        set_ledger(&l);
        answers = answers_of(&number);
        observation = policy_observe(&scene.rules, &scene.facts, &scene.ledger, &primary);
        if (!IS_OBSERVED(l, CANDIDATE, answers.says, answers.names, NEEDED, answers.rival)) {
            assert_true(observation == POLICY_NOTHING ||
                        strcmp(primary->instance, instances[CANDIDATE]) != 0);
            continue;
        }
        assert_int_equal(observation, l.known ? POLICY_PROMOTION : POLICY_BASELINE);
        assert_string_equal(primary->instance, instances[CANDIDATE]);
        assert_string_equal(primary->server_name, servers[CANDIDATE]);
        observed++;
    }
    assert_true(observed > 100);
}

/* An admin names the candidate; no ledger and no session matter. */
static void test_every_rebaseline(void **state)
{
    size_t allowed = 0;

    (void)state;
    for (unsigned i = 0; i < LEDGERS * ANSWERS; i++) {
        unsigned number = i;
        struct model_ledger ledger;
        struct answers answers;
        bool is_allowed;

        scene_init(&scene, REPLICAS, WSFC);
        scene.request.purpose = PURPOSE_REBASELINE;
        ledger = ledger_of(&number);
        set_ledger(&ledger);
        answers = answers_of(&number);
        is_allowed = IS_REBASELINED(answers.says, answers.names, NEEDED, answers.rival);
        assert_int_equal(scene_decide(&scene), is_allowed ? POLICY_ALLOW : POLICY_DENY);
        assert_int_equal(scene.verdict.mints_epoch, is_allowed);
        allowed += is_allowed;
    }
    assert_true(allowed > 100);
}

/* The model and the ledger itself, and the newest grant of the epoch. */
struct twins {
    struct ledger_scene *real;
    struct model_ledger l;
    uint64_t epoch, grant;
};

static void compare(const struct twins *twins)
{
    struct policy_ledger now = {0};

    assert_int_equal(ledger_policy(twins->real->ledger, &scene_subject, NOW_MS, &now), ESCROW_OK);
    assert_int_equal(now.has_record, twins->l.known);
    assert_int_equal(now.epoch, twins->epoch);
    if (!now.has_record)
        return;
    assert_string_equal(now.primary, instances[twins->l.primary]);
    assert_int_equal(now.origin, twins->l.origin);
    assert_int_equal(now.grant.state, twins->l.grant);
    /* How many there were counts for nothing once the grant is settled. */
    if (now.grant.state != POLICY_GRANT_SETTLED)
        assert_int_equal(now.grant.requests, twins->l.requests);
    assert_int_equal(now.grant.state != POLICY_GRANT_NONE, twins->l.holder < REPLICAS);
    if (twins->l.holder < REPLICAS)
        assert_string_equal(now.grant.replica, instances[twins->l.holder]);
}

static void observe(struct twins *twins, size_t who)
{
    int how = twins->l.known ? ORIGIN_OBSERVED : ORIGIN_BASELINE;

    scene_baseline(twins->real, ++twins->epoch, (enum policy_origin)how, instances[who]);
    FOLD_EPOCH(twins->l, who, how);
    twins->grant = 0;
}

static void grant(struct twins *twins, size_t who)
{
    bool mints = IS_MINTING(twins->l, who);

    if (mints) {
        int how = ORIGIN_OF_GRANT(twins->l, who);

        twins->epoch++;
        FOLD_EPOCH(twins->l, who, how);
    }
    twins->grant = scene_promote(twins->real, twins->epoch, mints, instances[who]);
    FOLD_GRANT(twins->l, who);
}

static void rebaseline(struct twins *twins, size_t who)
{
    scene_rebaseline(twins->real, ++twins->epoch, instances[who]);
    FOLD_EPOCH(twins->l, who, ORIGIN_BASELINE);
    twins->grant = 0;
}

#define EVENTS 8
/* false: cannot happen now, as the model sees it too. */
static bool happen(struct twins *twins, unsigned event)
{
    size_t who = event % 2 ? B : A;
    bool is_open = twins->l.grant == GRANT_UNSETTLED && twins->grant;

    switch (event / 2) {
    case 0:
        if (IS_RECORDED(twins->l, who))
            return false;
        observe(twins, who);
        return true;
    case 1:
        grant(twins, who);
        return true;
    case 3:
        rebaseline(twins, who);
        return true;
    default:
        break;
    }
    if (!is_open)
        return false;
    if (event % 2) {
        uint64_t receipt = scene_receipt(twins->real, twins->grant, OUTCOME_OPENED);

        compare(twins);
        scene_settle(twins->real, twins->grant, receipt, REASON_GRANT_DISPROVED);
        compare(twins);
        scene_settle(twins->real, twins->grant, receipt, REASON_GRANT_PROVED);
        FOLD_SETTLED(twins->l);
    } else {
        scene_record(twins->real,
                     &(struct audit_record){.event = AUDIT_UNFINISHED, .grant = twins->grant});
        FOLD_UNFINISHED(twins->l);
        twins->grant = 0;
    }
    return true;
}

static void run_history(struct twins *twins, unsigned number, unsigned events)
{
    compare(twins);
    for (unsigned i = 0; i < events && happen(twins, digit(&number, EVENTS)); i++)
        compare(twins);
}

/* From the beginning, when nothing is known of the group. */
static void test_first_histories(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EVENTS * EVENTS; i++) {
        struct twins twins = {.l = {.grant = GRANT_NONE, .holder = NOBODY}};
        void *real;

        assert_int_equal(ledger_scene_setup(&real), 0);
        twins.real = real;
        run_history(&twins, i, 2);
        assert_int_equal(ledger_scene_teardown(&real), 0);
    }
}

static bool is_whole(void)
{
    const char *all = getenv("ESCROW_TEST_ALL");

    return all && strcmp(all, "1") == 0;
}

/* Each begins with a new primary, so one ledger holds them all, one after the other. */
static void test_every_history(void **state)
{
    struct twins twins = {.real = *state, .l = {.grant = GRANT_NONE, .holder = NOBODY}};
    unsigned histories = 1, step = is_whole() ? 1 : SAMPLE;

    for (unsigned i = 0; i < HISTORY; i++)
        histories *= EVENTS;
    if (step > 1)
        printf("# sampled %u of %u\n", histories / step, histories);
    for (unsigned i = 0; i < histories; i += step) {
        observe(&twins, C);
        run_history(&twins, i, HISTORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_decision),   cmocka_unit_test(test_every_observation),
        cmocka_unit_test(test_every_rebaseline), cmocka_unit_test(test_first_histories),
        LEDGER_TEST(test_every_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
