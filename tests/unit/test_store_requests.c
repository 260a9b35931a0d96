/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_ledger.h"
#include "escrowd/store_requests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The table of requests alone: which of them each question finds, and which each change reaches. */

#define PATH_BYTES 256
#define ACT "header.payload.signature"
#define NOW_MS 5000
#define EXPIRES_MS 9000

struct scene {
    char folder[PATH_BYTES];
    struct store *store;
};

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    const char *folder = getenv("TMPDIR");
    char path[PATH_BYTES];

    assert_non_null(scene);
    snprintf(scene->folder, PATH_BYTES, "%.150s/requests.XXXXXX", folder ? folder : "/tmp");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(path, sizeof(path), "%.200s/store.sqlite", scene->folder);
    assert_int_equal(store_open(path, &scene->store), ESCROW_OK);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    char command[PATH_BYTES + 16];

    store_close(scene->store);
    snprintf(command, sizeof(command), "rm -rf '%s'", scene->folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a path of our own */
    free(scene);
    return 0;
}

static struct store_request request_of(uint64_t sequence)
{
    return (struct store_request){
        .sequence = sequence,
        .subject = {"AG1", "SSISDB"},
        .replica = "sql1",
        .purpose = PURPOSE_PROMOTE,
        .recipient = {.x = {1}, .y = {2}},
        .object_count = 2,
        .objects = {{.bytes = {3}}, {.bytes = {4}}},
        .actor = "spiffe://corp.example/sql1",
        .epoch = 6,
        .rules = 5,
        .reason = REASON_RESTART,
        .time_ms = NOW_MS,
        .expires_ms = EXPIRES_MS,
    };
}

/* What differs from request_of in one member: the first PLACES in the place, where one thing at a
 * time is waited for, the rest in what that is. */
#define PLACES 4
#define OTHERS (PLACES + 6)
static struct store_request other_of(size_t which, uint64_t sequence)
{
    struct store_request other = request_of(sequence);

    switch (which) {
    case 0:
        strcpy(other.subject.group, "AG2"); /* NOLINT: fits */
        break;
    case 1:
        strcpy(other.subject.database, "Other"); /* NOLINT: fits */
        break;
    case 2:
        strcpy(other.replica, "sql2"); /* NOLINT: fits */
        break;
    case 3:
        other.purpose = PURPOSE_DRILL;
        break;
    case PLACES:
        other.recipient.x[31] = 1;
        break;
    case PLACES + 1:
        other.recipient.y[31] = 1;
        break;
    case PLACES + 2:
        other.objects[1].bytes[33] = 1;
        break;
    case PLACES + 3:
        other.object_count = 1;
        break;
    case PLACES + 4:
        strcpy(other.actor, "spiffe://corp.example/sql3"); /* NOLINT: fits */
        break;
    default:
        other.objects[0] = request_of(0).objects[1];
        other.objects[1] = request_of(0).objects[0];
    }
    return other;
}

static void open_request(struct scene *scene, const struct store_request *request)
{
    assert_int_equal(store_open_request(scene->store, request, ACT), ESCROW_OK);
}

/* The number of the request that is found for this; 0: none. */
static uint64_t find(struct scene *scene, const struct store_request *wanted, int64_t now_ms)
{
    struct store_request found = {0};
    enum escrow_err err = store_find_request(scene->store, wanted, now_ms, &found);

    assert_true(err == ESCROW_OK || err == ESCROW_ERR_NOT_FOUND);
    return found.sequence;
}

static bool is_waiting(struct scene *scene, uint64_t sequence)
{
    CLEANUP(cleanup_free) char *act = NULL;
    struct store_request found = {0};

    assert_int_equal(store_request(scene->store, sequence, &found, &act), ESCROW_OK);
    assert_int_equal(found.is_open && !found.is_expired, act != NULL);
    return act != NULL;
}

/* Answered or given up, not over by its time. */
static void check_closed(struct scene *scene, uint64_t sequence)
{
    CLEANUP(cleanup_free) char *act = NULL;
    struct store_request found = {0};

    assert_int_equal(store_request(scene->store, sequence, &found, &act), ESCROW_OK);
    assert_false(found.is_open || found.is_expired);
    assert_null(act);
}

static enum escrow_err measure_approver(const char *identity, const struct tpm_name *key,
                                        void *argument)
{
    (void)key;
    *(size_t *)argument = strlen(identity);
    return ESCROW_OK;
}

static void test_every_member_comes_back(void **state)
{
    struct scene *scene = *state;
    struct store_request request = request_of(7), found = {0};
    CLEANUP(cleanup_free) char *act = NULL;

    request.time_ms = NOW_MS - 1;
    open_request(scene, &request);
    assert_int_equal(store_request(scene->store, 8, &found, &act), ESCROW_ERR_NOT_FOUND);
    assert_int_equal(store_request(scene->store, 7, &found, &act), ESCROW_OK);
    assert_string_equal(act, ACT);
    assert_true(found.is_open);
    assert_false(found.is_expired);
    assert_int_equal(found.sequence, 7);
    assert_string_equal(found.subject.group, request.subject.group);
    assert_string_equal(found.subject.database, request.subject.database);
    assert_string_equal(found.replica, request.replica);
    assert_int_equal(found.purpose, request.purpose);
    assert_memory_equal(&found.recipient, &request.recipient, sizeof(found.recipient));
    assert_int_equal(found.object_count, 2);
    assert_memory_equal(found.objects, request.objects, sizeof(found.objects));
    assert_string_equal(found.actor, request.actor);
    assert_int_equal(found.epoch, 6);
    assert_int_equal(found.rules, 5);
    assert_int_equal(found.reason, REASON_RESTART);
    assert_int_equal(found.time_ms, NOW_MS - 1);
    assert_int_equal(found.expires_ms, EXPIRES_MS);
}

static void test_longest_texts(void **state)
{
    struct scene *scene = *state;
    struct store_request request = request_of(7), found = {0};
    CLEANUP(cleanup_free) char *act = NULL;
    char identity[IDENTITY_MAX + 1] = "";
    size_t approver_len = 0;

    memset(request.subject.group, 'g', NAME_MAX_BYTES);
    memset(request.subject.database, 'd', ACT_DATABASE_MAX);
    memset(request.replica, 'r', NAME_MAX_BYTES);
    memset(request.actor, 'a', IDENTITY_MAX);
    memset(identity, 'i', IDENTITY_MAX);
    open_request(scene, &request);
    assert_int_equal(store_request(scene->store, 7, &found, &act), ESCROW_OK);
    assert_string_equal(found.subject.group, request.subject.group);
    assert_string_equal(found.subject.database, request.subject.database);
    assert_string_equal(found.replica, request.replica);
    assert_string_equal(found.actor, request.actor);
    assert_int_equal(store_approve_request(scene->store, 7, identity, &(struct tpm_name){{4}}),
                     ESCROW_OK);
    assert_int_equal(store_list_approvers(scene->store, 7, measure_approver, &approver_len),
                     ESCROW_OK);
    assert_int_equal(approver_len, IDENTITY_MAX);
}

static void test_most_objects(void **state)
{
    struct scene *scene = *state;
    struct store_request request = request_of(7), found = {0};
    CLEANUP(cleanup_free) char *act = NULL;

    request.object_count = ACT_OBJECTS_MAX;
    for (size_t i = 0; i < ACT_OBJECTS_MAX; i++)
        request.objects[i].bytes[9] = (uint8_t)(i + 1);
    open_request(scene, &request);
    assert_int_equal(store_request(scene->store, 7, &found, &act), ESCROW_OK);
    assert_int_equal(found.object_count, ACT_OBJECTS_MAX);
    assert_memory_equal(found.objects, request.objects, sizeof(found.objects));
}

/* An approval is for the very release that was asked for: nothing else finds it. */
static void test_found_by_all_that_it_is(void **state)
{
    struct scene *scene = *state;
    const struct store_request request = request_of(7);

    open_request(scene, &request);
    assert_int_equal(find(scene, &request, NOW_MS), 7);
    for (size_t i = 0; i < OTHERS; i++) {
        const struct store_request other = other_of(i, 0);

        assert_int_equal(find(scene, &other, NOW_MS), 0);
    }
    assert_int_equal(find(scene, &request, EXPIRES_MS - 1), 7);
    assert_int_equal(find(scene, &request, EXPIRES_MS), 0);
}

/* A replica waits for one thing at a time for each purpose; all others wait on. */
static void test_one_in_each_place(void **state)
{
    struct scene *scene = *state;
    const struct store_request request = request_of(10), next = other_of(PLACES, 11);

    for (size_t i = 0; i < PLACES; i++) {
        const struct store_request other = other_of(i, 1 + i);

        open_request(scene, &other);
    }
    open_request(scene, &request);
    open_request(scene, &next);
    check_closed(scene, 10);
    assert_true(is_waiting(scene, 11));
    for (size_t i = 0; i < PLACES; i++)
        assert_true(is_waiting(scene, 1 + i));
}

/* What was asked for goes on, with its approvals, as long as it is the very same. */
static void test_asked_again(void **state)
{
    struct scene *scene = *state;
    struct store_request request = request_of(1);

    open_request(scene, &request);
    request.sequence = 2;
    open_request(scene, &request);
    assert_int_equal(find(scene, &request, NOW_MS), 1);
    request.sequence = 3;
    request.rules = 7;
    open_request(scene, &request);
    assert_int_equal(find(scene, &request, NOW_MS), 3);
    request.sequence = 4;
    request.epoch = 7;
    open_request(scene, &request);
    assert_int_equal(find(scene, &request, NOW_MS), 4);
    assert_false(is_waiting(scene, 1) || is_waiting(scene, 3));
    /* Its time is over when it is asked again: a new one. */
    request.sequence = 5;
    request.time_ms = EXPIRES_MS;
    request.expires_ms = EXPIRES_MS + 1000;
    open_request(scene, &request);
    assert_int_equal(find(scene, &request, EXPIRES_MS), 5);
    assert_false(is_waiting(scene, 4));
}

static uint64_t count(struct scene *scene, const struct store_request *like, int64_t since_ms,
                      int64_t until_ms, uint64_t most)
{
    uint64_t result = 99;

    assert_int_equal(store_count_requests(scene->store, like, since_ms, until_ms, most, &result),
                     ESCROW_OK);
    return result;
}

/* Whatever became of them; of the same actor in the same place. */
static void test_counted(void **state)
{
    struct scene *scene = *state;
    const struct store_request like = request_of(0);
    struct store_request other = request_of(20);

    for (uint64_t i = 1; i <= 3; i++) {
        struct store_request request = request_of(i);

        request.epoch = i;
        request.time_ms = NOW_MS + (int64_t)i;
        open_request(scene, &request);
    }
    strcpy(other.actor, "spiffe://corp.example/sql2"); /* NOLINT: fits */
    other.epoch = 4;
    open_request(scene, &other);
    for (size_t i = 0; i < PLACES; i++) {
        const struct store_request elsewhere = other_of(i, 10 + i);

        open_request(scene, &elsewhere);
    }
    assert_int_equal(count(scene, &like, 0, NOW_MS + 3, 10), 3);
    assert_int_equal(count(scene, &like, 0, NOW_MS + 3, 2), 2);
    assert_int_equal(count(scene, &like, NOW_MS + 1, NOW_MS + 3, 10), 2);
    assert_int_equal(count(scene, &like, NOW_MS + 3, NOW_MS + 9, 10), 0);
    assert_int_equal(count(scene, &like, 0, NOW_MS + 2, 10), 2);
}

/* One open in each place. */
static void open_all(struct scene *scene)
{
    const struct store_request request = request_of(1);

    open_request(scene, &request);
    for (size_t i = 0; i < PLACES; i++) {
        const struct store_request other = other_of(i, 2 + i);

        open_request(scene, &other);
    }
}

/* Which of open_all's wait, as digits. */
static const char *waiting(struct scene *scene)
{
    static char text[8];
    size_t len = 0;

    for (uint64_t i = 1; i <= 1 + PLACES; i++) {
        if (is_waiting(scene, i))
            text[len++] = (char)('0' + i);
    }
    text[len] = '\0';
    return text;
}

static void test_a_grant_closes_those_of_the_secret(void **state)
{
    struct scene *scene = *state;
    const struct act_subject subject = request_of(0).subject;

    open_all(scene);
    assert_int_equal(store_close_requests(scene->store, &subject), ESCROW_OK);
    assert_string_equal(waiting(scene), "23"); /* the other group, the other database */
    check_closed(scene, 1);
}

/* What nobody can approve any more in the epoch that has begun, and nothing else. */
static void test_a_new_epoch_closes_those_before_it(void **state)
{
    static const struct {
        uint64_t epoch;
        const char *group, *replica;
        enum act_purpose purpose;
        bool stays, stays_after_rebaseline;
    } rows[] = {
        {6, "AG1", "sql1", PURPOSE_PROMOTE, true, false},
        {6, "AG1", "sql2", PURPOSE_PROMOTE, false, false}, /* another was promoted */
        {5, "AG1", "sql3", PURPOSE_PROMOTE, false, false},
        {5, "AG1", "sql1", PURPOSE_DRILL, false, false},
        {6, "AG1", "sql2", PURPOSE_DRILL, false, false},
        {6, "AG1", "sql1", PURPOSE_ROTATE, true, true}, /* which begins none of its own */
        {7, "AG1", "sql4", PURPOSE_PROMOTE, true, true},
        {5, "AG2", "sql1", PURPOSE_PROMOTE, true, true},
    };
    struct store_group now = {.replica = "sql1", .epoch = 6, .origin = POLICY_ORIGIN_OBSERVED};
    struct scene *scene = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_request request = request_of(1 + i);

        snprintf(request.subject.group, sizeof(request.subject.group), "%s", rows[i].group);
        snprintf(request.replica, sizeof(request.replica), "%s", rows[i].replica);
        request.purpose = rows[i].purpose;
        request.epoch = rows[i].epoch;
        open_request(scene, &request);
    }
    assert_int_equal(store_close_old_requests(scene->store, "AG1", &now), ESCROW_OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(is_waiting(scene, 1 + i), rows[i].stays);
    check_closed(scene, 2);
    now.origin = POLICY_ORIGIN_BASELINE;
    assert_int_equal(store_close_old_requests(scene->store, "AG1", &now), ESCROW_OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(is_waiting(scene, 1 + i), rows[i].stays_after_rebaseline);
}

/* Closed is closed, and what is over is over, whatever its clock says; nobody else's ends. */
static void test_ends_of_one(void **state)
{
    struct scene *scene = *state;
    const struct store_request request = request_of(0), other = other_of(2, 0);
    CLEANUP(cleanup_free) char *act = NULL;
    struct store_request found = {0};

    open_all(scene);
    assert_int_equal(store_close_request(scene->store, 1), ESCROW_OK);
    assert_int_equal(store_expire_request(scene->store, 4), ESCROW_OK);
    assert_string_equal(waiting(scene), "235");
    assert_int_equal(find(scene, &request, NOW_MS), 0);
    assert_int_equal(find(scene, &other, NOW_MS), 0);
    check_closed(scene, 1);
    assert_int_equal(store_request(scene->store, 4, &found, &act), ESCROW_OK);
    assert_true(found.is_open && found.is_expired);
}

static uint64_t next_open(struct scene *scene, int64_t now_ms, uint64_t after)
{
    struct store_request found = {0};
    enum escrow_err err = store_next_open(scene->store, now_ms, after, &found);

    assert_true(err == ESCROW_OK || err == ESCROW_ERR_NOT_FOUND);
    return found.sequence;
}

static uint64_t next_expired(struct scene *scene, int64_t now_ms, uint64_t after)
{
    struct store_request found = {0};
    enum escrow_err err = store_next_expired(scene->store, now_ms, after, &found);

    assert_true(err == ESCROW_OK || err == ESCROW_ERR_NOT_FOUND);
    return found.sequence;
}

/* One after the other; a request is either open or over, from the same moment on. */
static void test_one_after_the_other(void **state)
{
    struct scene *scene = *state;

    open_all(scene);
    assert_int_equal(store_close_request(scene->store, 2), ESCROW_OK);
    assert_int_equal(store_expire_request(scene->store, 3), ESCROW_OK);
    assert_int_equal(next_open(scene, EXPIRES_MS - 1, 0), 1);
    assert_int_equal(next_open(scene, EXPIRES_MS - 1, 1), 4);
    assert_int_equal(next_open(scene, EXPIRES_MS - 1, 4), 5);
    assert_int_equal(next_open(scene, EXPIRES_MS - 1, 5), 0);
    assert_int_equal(next_open(scene, EXPIRES_MS, 0), 0);
    assert_int_equal(next_expired(scene, EXPIRES_MS - 1, 0), 0);
    assert_int_equal(next_expired(scene, EXPIRES_MS, 0), 1);
    assert_int_equal(next_expired(scene, EXPIRES_MS, 1), 4);
    assert_int_equal(next_expired(scene, EXPIRES_MS, 4), 5);
    assert_int_equal(next_expired(scene, EXPIRES_MS, 5), 0);
}

struct listed {
    uint64_t sequences[128];
    size_t count;
    size_t most; /* then it refuses */
};

static enum escrow_err on_request(const struct store_request *request, void *argument)
{
    struct listed *listed = argument;

    if (listed->count == listed->most)
        return ESCROW_ERR_TIMEOUT;
    listed->sequences[listed->count++] = request->sequence;
    return ESCROW_OK;
}

static void test_listed(void **state)
{
    struct scene *scene = *state;
    struct listed all = {.most = 128}, late = {.most = 128}, some = {.most = 2};

    open_all(scene);
    assert_int_equal(store_close_request(scene->store, 2), ESCROW_OK);
    assert_int_equal(store_expire_request(scene->store, 3), ESCROW_OK);
    assert_int_equal(store_list_requests(scene->store, EXPIRES_MS - 1, on_request, &all),
                     ESCROW_OK);
    assert_int_equal(all.count, 3);
    assert_true(all.sequences[0] == 1 && all.sequences[1] == 4 && all.sequences[2] == 5);
    assert_int_equal(store_list_requests(scene->store, EXPIRES_MS, on_request, &late), ESCROW_OK);
    assert_int_equal(late.count, 0);
    assert_int_equal(store_list_requests(scene->store, NOW_MS, on_request, &some),
                     ESCROW_ERR_TIMEOUT);
    assert_int_equal(some.count, 2);
}

static void test_a_list_is_bounded(void **state)
{
    struct scene *scene = *state;
    struct listed listed = {.most = 128};

    assert_int_equal(store_begin(scene->store), ESCROW_OK);
    for (uint64_t i = 1; i <= 101; i++) {
        struct store_request request = request_of(i);

        snprintf(request.replica, sizeof(request.replica), "sql%u", (unsigned)i);
        open_request(scene, &request);
    }
    assert_int_equal(store_commit(scene->store), ESCROW_OK);
    assert_int_equal(store_list_requests(scene->store, NOW_MS, on_request, &listed), ESCROW_OK);
    assert_int_equal(listed.count, 100);
    assert_int_equal(listed.sequences[0], 1);
}

struct approvers {
    char text[256]; /* identity and the first byte of the key, in order */
    unsigned most;  /* then it refuses */
};

static enum escrow_err on_approver(const char *identity, const struct tpm_name *key, void *argument)
{
    struct approvers *approvers = argument;
    size_t len = strlen(approvers->text);

    if (approvers->most-- == 0)
        return ESCROW_ERR_TIMEOUT;
    snprintf(approvers->text + len, sizeof(approvers->text) - len, "%s:%u ", identity,
             (unsigned)key->bytes[0]);
    return ESCROW_OK;
}

/* Of one request; who approves again, with another key, counts once, with that. */
static void test_approvers(void **state)
{
    struct scene *scene = *state;
    struct approvers first = {.most = 9}, other = {.most = 9}, none = {.most = 9},
                     one = {.most = 1};

    for (uint8_t i = 1; i <= 3; i++) {
        const struct tpm_name key = {.bytes = {i}};
        const char *identity = i == 1 ? "b" : "a";

        assert_int_equal(store_approve_request(scene->store, 1, identity, &key), ESCROW_OK);
    }
    assert_int_equal(store_approve_request(scene->store, 2, "c", &(struct tpm_name){{4}}),
                     ESCROW_OK);
    assert_int_equal(store_list_approvers(scene->store, 1, on_approver, &first), ESCROW_OK);
    assert_string_equal(first.text, "a:3 b:1 ");
    assert_int_equal(store_list_approvers(scene->store, 2, on_approver, &other), ESCROW_OK);
    assert_string_equal(other.text, "c:4 ");
    assert_int_equal(store_list_approvers(scene->store, 3, on_approver, &none), ESCROW_OK);
    assert_string_equal(none.text, "");
    assert_int_equal(store_list_approvers(scene->store, 1, on_approver, &one), ESCROW_ERR_TIMEOUT);
    assert_string_equal(one.text, "a:3 ");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_member_comes_back),
        TEST(test_longest_texts),
        TEST(test_most_objects),
        TEST(test_found_by_all_that_it_is),
        TEST(test_one_in_each_place),
        TEST(test_asked_again),
        TEST(test_counted),
        TEST(test_a_grant_closes_those_of_the_secret),
        TEST(test_a_new_epoch_closes_those_before_it),
        TEST(test_ends_of_one),
        TEST(test_one_after_the_other),
        TEST(test_listed),
        TEST(test_a_list_is_bounded),
        TEST(test_approvers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
