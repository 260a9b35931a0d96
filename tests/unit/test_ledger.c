/* SPDX-License-Identifier: Apache-2.0 */
/* What records become in the store, and which are not taken. */
#include "escrowd/ledger_detail.h"
#include "escrowd/store_ledger.h"
#include "escrowd/store_orders.h"
#include "escrowd/store_secrets.h"
#include "escrowd/store_trust.h"
#include "libescrow/json.h"
#include "tests/unit/ledger_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void policy_now(struct ledger_scene *scene, struct policy_ledger *ret_ledger)
{
    assert_int_equal(ledger_policy(scene->ledger, &scene_subject, NOW_MS, ret_ledger), ESCROW_OK);
}

static void test_what_policy_decide_is_told(void **state)
{
    struct ledger_scene *scene = *state;
    struct policy_ledger ledger;
    uint64_t grant, receipt;

    policy_now(scene, &ledger);
    assert_false(ledger.has_record);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_NONE);

    scene_baseline(scene, 1, POLICY_ORIGIN_BASELINE, "sql1");
    policy_now(scene, &ledger);
    assert_true(ledger.has_record);
    assert_string_equal(ledger.primary, "sql1");
    assert_int_equal(ledger.epoch, 1);
    assert_int_equal(ledger.origin, POLICY_ORIGIN_BASELINE);
    assert_true(ledger.hints.has_sequence_number);
    assert_int_equal(ledger.hints.sequence_number, 1);

    grant = scene_promote(scene, 2, true, "sql2");
    scene_promote(scene, 2, false, "sql2");
    policy_now(scene, &ledger);
    assert_string_equal(ledger.primary, "sql2");
    assert_int_equal(ledger.epoch, 2);
    assert_int_equal(ledger.origin, POLICY_ORIGIN_GRANTED);
    assert_string_equal(ledger.hints.recovery_lsn, "42");
    assert_int_equal(ledger.grant.state, POLICY_GRANT_UNSETTLED);
    assert_int_equal(ledger.grant.requests, 2);
    assert_string_equal(ledger.grant.replica, "sql2");
    assert_in_range(ledger.epoch_age_ms, 1, NOW_MS);

    scene_record(scene, &(struct audit_record){.event = AUDIT_UNFINISHED, .grant = grant});
    policy_now(scene, &ledger);
    assert_int_equal(ledger.grant.requests, 1);

    scene_receipt(scene, grant + 1, OUTCOME_FAILED);
    policy_now(scene, &ledger);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_UNSETTLED);

    receipt = scene_receipt(scene, grant + 1, OUTCOME_OPENED);
    policy_now(scene, &ledger);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_UNSETTLED);
    scene_settle(scene, grant + 1, receipt, REASON_GRANT_PROVED);
    policy_now(scene, &ledger);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_SETTLED);

    /* A restart that the policy allows begins a grant of its own in the same epoch. */
    scene_promote(scene, 2, false, "sql2");
    policy_now(scene, &ledger);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_UNSETTLED);
    assert_int_equal(ledger.grant.requests, 1);
}

static enum policy_grant_state state_now(struct ledger_scene *scene)
{
    struct policy_ledger ledger;

    policy_now(scene, &ledger);
    return ledger.grant.state;
}

static enum escrow_err count_grant(const struct store_grant *grant, void *argument)
{
    unsigned *count = argument;

    (void)grant;
    (*count)++;
    return ESCROW_OK;
}

/* Grants whose receipt waits for its proof. */
static unsigned receipted(struct ledger_scene *scene)
{
    unsigned count = 0;

    assert_int_equal(store_list_receipted(scene->store, 10, count_grant, &count), ESCROW_OK);
    return count;
}

/* Grants of which nothing was heard. */
static unsigned unreceipted(struct ledger_scene *scene, int64_t before_ms)
{
    unsigned count = 0;

    assert_int_equal(store_list_unreceipted(scene->store, before_ms, 10, count_grant, &count),
                     ESCROW_OK);
    return count;
}

static void assert_unsettled(struct ledger_scene *scene, uint64_t expected)
{
    uint64_t count;

    assert_int_equal(store_count_unsettled(scene->store, &count), ESCROW_OK);
    assert_int_equal(count, expected);
}

static void test_only_a_proof_settles(void **state)
{
    struct ledger_scene *scene = *state;
    struct store_grant grant = {0};
    uint64_t first = scene_promote(scene, 1, true, "sql1");
    uint64_t second = scene_promote(scene, 1, false, "sql1"), receipt;

    assert_unsettled(scene, 2);
    assert_int_equal(unreceipted(scene, NOW_MS), 2);
    assert_int_equal(unreceipted(scene, 0), 0);
    receipt = scene_receipt(scene, second, OUTCOME_OPENED);
    assert_int_equal(receipted(scene), 1);
    assert_int_equal(unreceipted(scene, NOW_MS), 1);
    scene_settle(scene, first, 0, REASON_RECEIPT_MISSING);
    assert_int_equal(unreceipted(scene, NOW_MS), 0);

    /* It goes on being asked for, in this epoch. */
    scene_settle(scene, second, receipt, REASON_GRANT_DISPROVED);
    assert_int_equal(store_grant(scene->store, second, &grant), ESCROW_OK);
    assert_true(grant.is_judged);
    assert_false(grant.is_settled);
    assert_int_equal(receipted(scene), 1);
    assert_int_equal(state_now(scene), POLICY_GRANT_UNSETTLED);

    /* What was found out about an earlier receipt says nothing about a later one. */
    assert_int_equal(scene_receipt(scene, second, OUTCOME_ALREADY_OPEN), receipt + 3);
    scene_settle(scene, second, receipt, REASON_GRANT_UNPROVEN);
    assert_int_equal(store_grant(scene->store, second, &grant), ESCROW_OK);
    assert_false(grant.is_judged);
    assert_int_equal(grant.receipt, receipt + 3);
    scene_receipt(scene, second, OUTCOME_FAILED);
    assert_int_equal(receipted(scene), 0);
    receipt = scene_receipt(scene, second, OUTCOME_OPENED);
    scene_settle(scene, second, receipt, REASON_GRANT_PROVED);
    assert_int_equal(receipted(scene), 0);
    assert_int_equal(state_now(scene), POLICY_GRANT_SETTLED);
    assert_unsettled(scene, 0);

    /* There is nothing more to prove, whatever its agent says. */
    scene_receipt(scene, second, OUTCOME_OPENED);
    assert_int_equal(receipted(scene), 0);
}

/* And what was granted before it for the same; nothing that came later, or for something else. */
static void test_a_proof_settles_what_was_before_it(void **state)
{
    struct ledger_scene *scene = *state;
    const uint64_t before = scene_promote(scene, 1, true, "sql1");
    const uint64_t drill = scene_release(
        scene, &(struct wanted_release){
                   .decision = "allow", .purpose = PURPOSE_DRILL, .epoch = 1, .replica = "sql1"});
    const uint64_t proved = scene_promote(scene, 1, false, "sql1");
    const uint64_t after = scene_promote(scene, 1, false, "sql1");
    const struct {
        uint64_t grant;
        bool is_settled;
    } rows[] = {{before, true}, {drill, false}, {proved, true}, {after, false}};

    scene_settle(scene, proved, scene_receipt(scene, proved, OUTCOME_OPENED), REASON_GRANT_PROVED);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_grant grant = {0};

        assert_int_equal(store_grant(scene->store, rows[i].grant, &grant), ESCROW_OK);
        assert_int_equal(grant.is_settled, rows[i].is_settled);
    }
}

static void test_what_is_past_is_not_asked_for(void **state)
{
    struct ledger_scene *scene = *state;
    uint64_t grant = scene_promote(scene, 1, true, "sql1");
    uint64_t receipt = scene_receipt(scene, grant, OUTCOME_OPENED);

    scene_baseline(scene, 2, POLICY_ORIGIN_OBSERVED, "sql2");
    assert_int_equal(receipted(scene), 1);
    scene_settle(scene, grant, receipt, REASON_GRANT_UNPROVEN);
    assert_int_equal(receipted(scene), 0);
    assert_unsettled(scene, 0);
}

/* A log of before there were proofs says the same as it did then. */
static void test_an_old_receipt_settles(void **state)
{
    struct ledger_scene *scene = *state;
    uint64_t grant = scene_promote(scene, 1, true, "sql1");

    scene_old_receipt(scene, grant, OUTCOME_FAILED);
    assert_int_equal(state_now(scene), POLICY_GRANT_UNSETTLED);
    scene_old_receipt(scene, grant, OUTCOME_OPENED);
    assert_int_equal(state_now(scene), POLICY_GRANT_SETTLED);
    assert_int_equal(receipted(scene), 0);
}

/* With what is known of the database, whose hints are those of the epoch before. */
static void assert_began(struct ledger_scene *scene, enum policy_origin origin,
                         int64_t sequence_number)
{
    struct policy_ledger ledger;

    policy_now(scene, &ledger);
    assert_int_equal(ledger.origin, origin);
    assert_int_equal(ledger.hints.sequence_number, sequence_number);
}

static void promote_other(struct ledger_scene *scene, uint64_t epoch, const char *replica)
{
    scene_release(scene, &(struct wanted_release){.decision = "allow",
                                                  .purpose = PURPOSE_PROMOTE,
                                                  .epoch = epoch,
                                                  .mints = true,
                                                  .database = "OTHER",
                                                  .replica = replica});
}

/* A release is a promotion if another primary was on record; else it speaks for its database. */
static void test_how_a_release_begins_an_epoch(void **state)
{
    struct ledger_scene *scene = *state;

    scene_promote(scene, 1, true, "sql1");
    assert_began(scene, POLICY_ORIGIN_UNPROVEN, 0);
    scene_baseline(scene, 2, POLICY_ORIGIN_BASELINE, "sql1");
    promote_other(scene, 3, "sql1");
    assert_began(scene, POLICY_ORIGIN_UNPROVEN, 2);
    promote_other(scene, 4, "sql2");
    assert_began(scene, POLICY_ORIGIN_GRANTED, 0);
    promote_other(scene, 5, "sql2");
    assert_began(scene, POLICY_ORIGIN_UNPROVEN, 0);
}

static void test_brake_counts_the_last_hour(void **state)
{
    struct ledger_scene *scene = *state;
    struct policy_ledger ledger;
    int64_t now_ms;
    uint64_t grant;

    scene_promote(scene, 1, true, "sql1");
    grant = scene_promote(scene, 1, false, "sql1");
    promote_other(scene, 2, "sql1");
    now_ms = audit_end(scene->audit)->time_ms;
    assert_int_equal(ledger_policy(scene->ledger, &scene_subject, now_ms, &ledger), ESCROW_OK);
    assert_int_equal(ledger.releases_last_hour, 2);
    assert_int_equal(ledger_policy(scene->ledger, &scene_subject, now_ms + 3600001, &ledger),
                     ESCROW_OK);
    assert_int_equal(ledger.releases_last_hour, 0);
    scene_record(scene, &(struct audit_record){.event = AUDIT_UNFINISHED, .grant = grant});
    assert_int_equal(ledger_policy(scene->ledger, &scene_subject, now_ms, &ledger), ESCROW_OK);
    assert_int_equal(ledger.releases_last_hour, 1);
}

static uint64_t count_unfinished(struct ledger_scene *scene, const char *database,
                                 const char *actor, int64_t since_ms)
{
    struct act_subject subject = scene_subject;
    uint64_t count = 99;

    snprintf(subject.database, sizeof(subject.database), "%s", database);
    assert_int_equal(store_count_unfinished(scene->store, &subject, actor, since_ms,
                                            since_ms + 3600000, 2, &count),
                     ESCROW_OK);
    return count;
}

/* One actor's for one secret that let nothing out; what did is not among them. */
static void test_unfinished_grants_are_counted(void **state)
{
    struct ledger_scene *scene = *state;
    int64_t before_ms, now_ms;

    scene_promote(scene, 1, true, "sql1");
    before_ms = audit_end(scene->audit)->time_ms - 1;
    assert_int_equal(count_unfinished(scene, DATABASE, FIXTURE_AGENT, before_ms), 0);
    for (uint64_t count = 1; count <= 3; count++) {
        uint64_t grant = scene_promote(scene, 1, false, "sql1");

        scene_record(scene, &(struct audit_record){.event = AUDIT_UNFINISHED, .grant = grant});
        assert_int_equal(count_unfinished(scene, DATABASE, FIXTURE_AGENT, before_ms),
                         count < 2 ? count : 2);
    }
    now_ms = audit_end(scene->audit)->time_ms;
    assert_int_equal(count_unfinished(scene, DATABASE, FIXTURE_AGENT, now_ms), 0);
    assert_int_equal(count_unfinished(scene, DATABASE, FIXTURE_ADMIN, before_ms), 0);
    assert_int_equal(count_unfinished(scene, "other", FIXTURE_AGENT, before_ms), 0);
    /* The wall clock was set back since. */
    assert_int_equal(count_unfinished(scene, DATABASE, FIXTURE_AGENT, before_ms - 7200000), 0);
}

static void test_versions(void **state)
{
    struct ledger_scene *scene = *state;
    struct store_version versions[ACT_OBJECTS_MAX];
    const struct tpm_private private_area = {.len = 3, .bytes = "abc"};
    struct tpm_name recipient = fixture_name(scene->keys->storage[0]);
    struct wrap_blob blob;
    size_t count;
    uint32_t next;

    scene_publish(scene);
    scene_deposit(scene, 1);
    scene_deposit(scene, 2);
    scene_deposit(scene, 3);
    assert_int_equal(store_next_version(scene->store, &scene_subject, &next), ESCROW_OK);
    assert_int_equal(next, 4);
    assert_int_equal(
        store_live_versions(scene->store, &scene_subject, versions, ARRAY_LEN(versions), &count),
        ESCROW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(versions[0].version, 3);
    assert_int_equal(versions[0].state, SECRET_ACTIVE);
    assert_int_equal(versions[1].version, 2);
    assert_int_equal(versions[1].state, SECRET_RETIRED);
    assert_int_equal(versions[2].version, 1);
    assert_int_equal(versions[0].private_area.len, 0);

    assert_int_equal(store_blob(scene->store, &scene->object, &recipient, &blob), ESCROW_OK);
    recipient.bytes[5] ^= 1;
    assert_int_equal(store_blob(scene->store, &scene->object, &recipient, &blob),
                     ESCROW_ERR_NOT_FOUND);
    assert_int_equal(store_next_unimported(scene->store, versions), ESCROW_OK);
    assert_int_equal(versions[0].version, 1);
    assert_int_equal(store_set_private(scene->store, &versions[0].object, &private_area),
                     ESCROW_OK);
    assert_int_equal(store_next_unimported(scene->store, versions), ESCROW_OK);
    assert_int_equal(versions[0].version, 2);
}

static void assert_approvals(const struct ledger_scene *scene, const char *group,
                             const struct tpm_name *counter, const struct tpm_name *act_key,
                             bool has_host, bool has_node)
{
    bool host = !has_host, node = !has_node;

    assert_int_equal(store_has_approvals(scene->store, group, counter, act_key, &host, &node),
                     ESCROW_OK);
    assert_int_equal(host, has_host);
    assert_int_equal(node, has_node);
}

static void test_trust(void **state)
{
    struct ledger_scene *scene = *state;
    struct tpm_name counter = fixture_name(scene->keys->audit[0]);
    struct tpm_name agent = fixture_name(scene->keys->agent);
    struct approval approval;

    assert_null(ledger_roster(scene->ledger));
    scene_publish(scene);
    assert_int_equal(roster_version(ledger_roster(scene->ledger)), 1);
    assert_int_equal(store_node_approval(scene->store, FIXTURE_GROUP, &counter, &agent, &approval),
                     ESCROW_OK);
    assert_int_equal(approval.epoch, 3);
    assert_int_equal(store_node_approval(scene->store, FIXTURE_GROUP, &agent, &agent, &approval),
                     ESCROW_ERR_NOT_FOUND);
    assert_approvals(scene, FIXTURE_GROUP, &counter, &agent, false, true);
    assert_approvals(scene, FIXTURE_GROUP, &counter, &counter, false, false);
    assert_approvals(scene, FIXTURE_GROUP, &agent, &agent, false, false);
    assert_approvals(scene, "other", &counter, &agent, false, false);
    assert_int_equal(store_node_approval(scene->store, "other", &counter, &agent, &approval),
                     ESCROW_ERR_NOT_FOUND);
    scene_open(scene);
    assert_int_equal(roster_version(ledger_roster(scene->ledger)), 1);
}

static struct approval host_approval(const struct ledger_scene *scene, uint64_t epoch, uint8_t pcrs,
                                     uint32_t selection)
{
    return (struct approval){.kind = TPM_APPROVAL_HOST,
                             .group = FIXTURE_GROUP,
                             .counter = fixture_name(scene->keys->audit[0]),
                             .epoch = epoch,
                             .pcrs = {.selection = selection, .digest = {.bytes = {pcrs}}},
                             .signature = {(uint8_t)epoch}};
}

static struct approval node_approval(const struct ledger_scene *scene, uint64_t epoch, uint8_t mark)
{
    return (struct approval){.kind = TPM_APPROVAL_NODE,
                             .group = FIXTURE_GROUP,
                             .counter = fixture_name(scene->keys->audit[0]),
                             .epoch = epoch,
                             .act_key_count = 1,
                             .act_keys = {fixture_name(scene->keys->agent)},
                             .signature = {mark}};
}

/* An approval that ends earlier than the one that is there, and comes later, takes nothing away. */
static void test_approvals_of_the_same(void **state)
{
    static const struct {
        uint64_t epoch;
        uint8_t mark, kept;
    } rows[] = {{5, 1, 1}, {4, 2, 1}, {5, 3, 3}, {6, 4, 4}, {5, 5, 4}};
    struct ledger_scene *scene = *state;
    const struct tpm_name counter = fixture_name(scene->keys->audit[0]);
    const struct tpm_name agent = fixture_name(scene->keys->agent);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct approval added = node_approval(scene, rows[i].epoch, rows[i].mark);
        struct approval kept;

        assert_int_equal(store_add_approval(scene->store, &added), ESCROW_OK);
        assert_int_equal(store_node_approval(scene->store, FIXTURE_GROUP, &counter, &agent, &kept),
                         ESCROW_OK);
        assert_int_equal(kept.signature[0], rows[i].kept);
        assert_int_equal(
            store_node_approval(scene->store, FIXTURE_GROUP, &counter, &counter, &kept),
            ESCROW_ERR_NOT_FOUND);
    }
}

/* Each boot state has its own, those that last longest first, and no more than there is room for.
 */
static void test_host_approvals(void **state)
{
    struct ledger_scene *scene = *state;
    const struct tpm_name counter = fixture_name(scene->keys->audit[0]);
    const struct tpm_name other = fixture_name(scene->keys->agent);
    static const struct {
        uint64_t epoch;
        uint8_t pcrs;
        uint32_t selection;
    } rows[] = {{3, 1, 1}, {7, 2, 1}, {5, 2, 2}, {4, 2, 1}};
    const struct approval node = node_approval(scene, 9, 1);
    struct approval found[3];
    size_t count;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct approval added =
            host_approval(scene, rows[i].epoch, rows[i].pcrs, rows[i].selection);

        assert_int_equal(store_add_approval(scene->store, &added), ESCROW_OK);
    }
    assert_approvals(scene, FIXTURE_GROUP, &counter, &other, true, false);
    assert_approvals(scene, FIXTURE_GROUP, &other, &other, false, false);
    assert_approvals(scene, "other", &counter, &other, false, false);
    assert_int_equal(store_add_approval(scene->store, &node), ESCROW_OK);
    assert_int_equal(store_host_approvals(scene->store, FIXTURE_GROUP, &counter, found, 3, &count),
                     ESCROW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(found[0].epoch, 7);
    assert_int_equal(found[1].epoch, 5);
    assert_int_equal(found[2].epoch, 3);
    assert_int_equal(store_host_approvals(scene->store, FIXTURE_GROUP, &counter, found, 2, &count),
                     ESCROW_OK);
    assert_int_equal(count, 2);
    assert_int_equal(found[1].epoch, 5);
    assert_int_equal(store_host_approvals(scene->store, FIXTURE_GROUP, &other, found, 3, &count),
                     ESCROW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(store_host_approvals(scene->store, "other", &counter, found, 3, &count),
                     ESCROW_OK);
    assert_int_equal(count, 0);
}

static void test_orders(void **state)
{
    struct ledger_scene *scene = *state;
    struct store_order found = {0};

    scene_order(scene, "order-1", 1000);
    scene_order(scene, "order-2", 3000);
    assert_int_equal(store_next_order(scene->store, FIXTURE_GROUP, 500, 0, &found), ESCROW_OK);
    assert_string_equal(found.id, "order-1");
    assert_int_equal(store_next_order(scene->store, FIXTURE_GROUP, 1000, 0, &found), ESCROW_OK);
    assert_string_equal(found.id, "order-2");
    scene_release(scene, &(struct wanted_release){.decision = "allow",
                                                  .purpose = PURPOSE_DRILL,
                                                  .epoch = 1,
                                                  .replica = "sql1",
                                                  .order = "order-2"});
    assert_int_equal(store_next_order(scene->store, FIXTURE_GROUP, 1000, 0, &found),
                     ESCROW_ERR_NOT_FOUND);
}

/* What cannot be folded leaves nothing of its batch behind. */
static void test_a_batch_is_folded_whole_or_not(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(cleanup_free) char *compact = NULL;
    struct audit_record wanted = {.event = AUDIT_DEPOSIT};
    struct audit_chain folded;
    uint32_t next;

    scene_publish(scene);
    compact = scene_deposit_act(scene, 1);
    wanted.act = compact;
    assert_int_equal(audit_append(scene->audit, &wanted, NULL, NULL), ESCROW_OK);
    /* The same version again. */
    assert_int_equal(audit_append(scene->audit, &wanted, NULL, NULL), ESCROW_OK);
    assert_int_equal(audit_commit(scene->audit), ESCROW_ERR_STORE);
    assert_null(audit_trouble(scene->audit));
    assert_int_equal(store_folded(scene->store, &folded), ESCROW_OK);
    assert_int_equal(folded.sequence, 1);
    assert_int_equal(store_next_version(scene->store, &scene_subject, &next), ESCROW_OK);
    assert_int_equal(next, 1);
    /* What the store lacks is not left out for what comes after it. */
    wanted = (struct audit_record){.event = AUDIT_ALERT};
    assert_int_equal(audit_append(scene->audit, &wanted, NULL, NULL), ESCROW_OK);
    assert_int_equal(audit_commit(scene->audit), ESCROW_ERR_STORE);
    assert_int_equal(store_folded(scene->store, &folded), ESCROW_OK);
    assert_int_equal(folded.sequence, 1);
}

/* The log is evidence, not authority: an act in it must verify by the roster of its time. */
static void test_forged_act_is_not_folded(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_DEPOSIT);
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    CLEANUP(cleanup_free) char *compact = NULL;
    struct audit_record wanted = {.event = AUDIT_DEPOSIT};

    scene_publish(scene);
    scene_fill_deposit(scene, act, 1);
    compact = scene_sign(scene, act, stranger);
    wanted.act = compact;
    assert_int_equal(audit_append(scene->audit, &wanted, NULL, NULL), ESCROW_OK);
    assert_int_equal(audit_commit(scene->audit), ESCROW_ERR_STORE);
}

static void test_second_keeper_is_refused(void **state)
{
    struct ledger_scene *scene = *state;
    struct store *second;
    char path[PATH_BYTES];

    scene_publish(scene);
    scene_path(scene, "store.sqlite", path);
    assert_int_equal(store_open(path, &second), ESCROW_ERR_STORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(test_what_policy_decide_is_told),
        LEDGER_TEST(test_only_a_proof_settles),
        LEDGER_TEST(test_a_proof_settles_what_was_before_it),
        LEDGER_TEST(test_what_is_past_is_not_asked_for),
        LEDGER_TEST(test_an_old_receipt_settles),
        LEDGER_TEST(test_how_a_release_begins_an_epoch),
        LEDGER_TEST(test_brake_counts_the_last_hour),
        LEDGER_TEST(test_unfinished_grants_are_counted),
        LEDGER_TEST(test_versions),
        LEDGER_TEST(test_trust),
        LEDGER_TEST(test_approvals_of_the_same),
        LEDGER_TEST(test_host_approvals),
        LEDGER_TEST(test_orders),
        LEDGER_TEST(test_a_batch_is_folded_whole_or_not),
        LEDGER_TEST(test_forged_act_is_not_folded),
        LEDGER_TEST(test_second_keeper_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
