/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/ledger_detail.h"
#include "libescrow/json.h"
#include "tests/unit/ledger_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* What the records of a request that waits for admins become in the store: from the one that asks
 * for them to whatever ends it. */

/* The request with this binding that is open at the time; 0: none. */
static uint64_t find(struct ledger_scene *scene, const char *replica, uint8_t object,
                     int64_t now_ms)
{
    const struct store_request wanted = scene_wanted(replica, object);
    struct store_request found = {0};
    enum escrow_err err = store_find_request(scene->store, &wanted, now_ms, &found);

    assert_true(err == ESCROW_OK || err == ESCROW_ERR_NOT_FOUND);
    return err ? 0 : found.sequence;
}

/* That it is over is on record: no clock that is set back opens it again. */
static void test_expired_request_stays_over(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(json_free_p) json_t *detail = NULL;
    CLEANUP(cleanup_free) char *act = NULL;
    const int64_t expires_ms = NOW_MS, before_ms = 1;
    struct store_request found = {0};
    uint64_t request;

    scene_ask_admins(scene, 1, "sql1", 7, expires_ms);
    request = find(scene, "sql1", 7, before_ms);
    assert_int_not_equal(request, 0);
    detail = ledger_request_detail(request);
    scene_record(scene, &(struct audit_record){.event = AUDIT_EXPIRED, .detail = detail});
    assert_int_equal(find(scene, "sql1", 7, before_ms), 0);
    assert_int_equal(store_next_expired(scene->store, expires_ms, 0, &found), ESCROW_ERR_NOT_FOUND);
    assert_int_equal(store_request(scene->store, request, &found, &act), ESCROW_OK);
    assert_true(found.is_open && found.is_expired);
    assert_null(act);
    scene_ask_admins(scene, 1, "sql1", 7, expires_ms);
    assert_int_equal(find(scene, "sql1", 7, before_ms), request + 2);
}

static void test_requests(void **state)
{
    struct ledger_scene *scene = *state;
    CLEANUP(cleanup_free) char *act = NULL, *closed_act = NULL;
    struct store_request found = {0}, closed = {0};
    uint64_t first;

    /* A record of before there were approvals opens nothing. */
    scene_release(scene, &(struct wanted_release){.decision = "needs_approval",
                                                  .purpose = PURPOSE_PROMOTE,
                                                  .epoch = 1,
                                                  .replica = "sql1"});
    assert_int_equal(find(scene, "sql1", 7, 0), 0);

    scene_ask_admins(scene, 1, "sql1", 7, NOW_MS);
    first = find(scene, "sql1", 7, 0);
    assert_int_equal(first, audit_end(scene->audit)->sequence);
    assert_int_equal(store_request(scene->store, first, &found, &act), ESCROW_OK);
    assert_string_equal(act, "header.payload.signature");
    assert_string_equal(found.actor, FIXTURE_AGENT);
    assert_int_equal(found.rules, 1U << POLICY_RULE_PROMOTION);
    assert_int_equal(found.reason, REASON_RESTART);
    assert_true(found.is_open);
    /* Asked again it goes on; for another replica, other objects, or later it is another. */
    scene_ask_admins(scene, 1, "sql1", 7, NOW_MS);
    assert_int_equal(find(scene, "sql1", 7, 0), first);
    assert_int_equal(find(scene, "sql2", 7, 0), 0);
    assert_int_equal(find(scene, "sql1", 8, 0), 0);
    assert_int_equal(find(scene, "sql1", 7, NOW_MS), 0);

    /* In another epoch the same is another; and who asks for something else waits for no more. */
    scene_ask_admins(scene, 2, "sql1", 7, NOW_MS);
    assert_int_not_equal(find(scene, "sql1", 7, 0), first);
    assert_int_equal(store_request(scene->store, first, &closed, &closed_act), ESCROW_OK);
    assert_false(closed.is_open);
    assert_null(closed_act);
    scene_ask_admins(scene, 2, "sql1", 8, NOW_MS);
    assert_int_equal(find(scene, "sql1", 7, 0), 0);
    assert_int_not_equal(find(scene, "sql1", 8, 0), 0);

    /* What has expired does not go on. */
    scene_ask_admins(scene, 2, "sql2", 7, 1);
    assert_int_equal(find(scene, "sql2", 7, 1), 0);
    first = audit_end(scene->audit)->sequence;
    scene_ask_admins(scene, 2, "sql2", 7, NOW_MS);
    assert_int_equal(find(scene, "sql2", 7, 0), first + 1);

    scene_promote(scene, 2, true, "sql1");
    assert_int_equal(find(scene, "sql1", 8, 0), 0);
    assert_int_equal(find(scene, "sql2", 7, 0), 0);
}

static void open_other(struct ledger_scene *scene, uint64_t number, enum act_purpose purpose,
                       const char *group, uint64_t epoch)
{
    struct store_request request = scene_wanted("sql1", (uint8_t)number);

    request.sequence = number;
    request.purpose = purpose;
    request.epoch = epoch;
    request.expires_ms = NOW_MS;
    snprintf(request.subject.group, sizeof(request.subject.group), "%s", group);
    snprintf(request.actor, sizeof(request.actor), "%s", FIXTURE_AGENT);
    assert_int_equal(store_open_request(scene->store, &request, "act"), ESCROW_OK);
}

static bool is_open(struct ledger_scene *scene, uint64_t number)
{
    CLEANUP(cleanup_free) char *act = NULL;
    struct store_request found = {0};

    assert_int_equal(store_request(scene->store, number, &found, &act), ESCROW_OK);
    assert_int_equal(found.is_open, act != NULL);
    return found.is_open;
}

/* Whatever can be approved by nobody any more, because of another epoch, is closed; nothing else.
 */
static void test_requests_of_another_epoch(void **state)
{
    struct ledger_scene *scene = *state;
    uint64_t first;

    scene_baseline(scene, 1, POLICY_ORIGIN_BASELINE, "sql1");
    scene_ask_admins(scene, 1, "sql3", 7, NOW_MS);
    first = audit_end(scene->audit)->sequence;
    scene_ask_admins(scene, 2, "sql1", 7, NOW_MS);
    scene_ask_admins(scene, 2, "sql2", 7, NOW_MS);
    open_other(scene, 1001, PURPOSE_DRILL, FIXTURE_GROUP, 1);
    open_other(scene, 1002, PURPOSE_ROTATE, FIXTURE_GROUP, 2);
    open_other(scene, 1003, PURPOSE_PROMOTE, "other", 1);
    /* sql2 was promoted: what it has asked for is for this. */
    scene_baseline(scene, 2, POLICY_ORIGIN_OBSERVED, "sql2");
    assert_false(is_open(scene, first));
    assert_false(is_open(scene, first + 1));
    assert_true(is_open(scene, first + 2));
    assert_false(is_open(scene, 1001));
    assert_false(is_open(scene, 1002)); /* of sql1 */
    assert_true(is_open(scene, 1003));
    /* After a rebaseline the next release is of one more. */
    scene_ask_admins(scene, 3, "sql2", 8, NOW_MS);
    first = audit_end(scene->audit)->sequence;
    scene_rebaseline(scene, 3, "sql2");
    assert_false(is_open(scene, first));
    assert_true(is_open(scene, 1003));
    /* So it is where a release begins the epoch. */
    scene_ask_admins(scene, 4, "sql1", 7, NOW_MS);
    first = audit_end(scene->audit)->sequence;
    scene_promote(scene, 4, true, "sql3");
    assert_false(is_open(scene, first));
}

struct approvers {
    unsigned count;
    struct tpm_name last;
};

static enum escrow_err on_approver(const char *identity, const struct tpm_name *key, void *argument)
{
    struct approvers *approvers = argument;

    (void)identity;
    approvers->count++;
    approvers->last = *key;
    return ESCROW_OK;
}

static void test_one_approval_an_identity(void **state)
{
    struct ledger_scene *scene = *state;
    struct approvers approvers = {0};
    struct tpm_name other = fixture_name(scene->keys->agent);

    scene_ask_admins(scene, 1, "sql1", 7, NOW_MS);
    scene_approve(scene, 1, FIXTURE_ADMIN, scene->keys->admin);
    scene_approve(scene, 1, FIXTURE_ADMIN, scene->keys->agent);
    /* Of a request that there never was: it does no harm. */
    scene_approve(scene, 99, FIXTURE_ADMIN, scene->keys->admin);
    assert_int_equal(store_list_approvers(scene->store, 1, on_approver, &approvers), ESCROW_OK);
    assert_int_equal(approvers.count, 1);
    assert_true(tpm_name_equal(&approvers.last, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(test_requests),
        LEDGER_TEST(test_expired_request_stays_over),
        LEDGER_TEST(test_requests_of_another_epoch),
        LEDGER_TEST(test_one_approval_an_identity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
