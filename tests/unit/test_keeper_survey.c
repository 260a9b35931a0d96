/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "tests/unit/keeper_asked.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What escrowd notices of a group beside its primary: each is said once, and releases nothing. */

enum { A, B, C }; /* fx->replicas */

static unsigned awaited; /* questions to A whether its key opens */

static bool is_asked(struct keeper_fixture *fx)
{
    return fx->replicas[A].opens_asked >= awaited;
}

/* Until A was asked so many times more. */
static void ask_again(struct keeper_fixture *fx, unsigned count)
{
    awaited = fx->replicas[A].opens_asked + count;
    fx_until(fx, is_asked);
}

static unsigned listed; /* questions for the members */

static bool note_members(struct fx_replica *replica, const struct ipc_message *question,
                         void *argument)
{
    (void)replica;
    (void)argument;
    listed += question->type == IPC_PROBE_ASK_MEMBERS;
    return false;
}

static bool is_listed(struct keeper_fixture *fx)
{
    (void)fx;
    return listed >= awaited;
}

/* A round later there are no more such records than so many. */
static void assert_alerts(struct keeper_fixture *fx, const char *reason, unsigned count)
{
    fx_wait_count(fx, "alert", reason, count);
    ask_again(fx, 1);
    assert_int_equal(fx_count(fx, "alert", reason), count);
}

static json_t *last_alert(struct keeper_fixture *fx)
{
    CLEANUP(json_free_p) json_t *records = fx_log(fx);
    json_t *last = NULL;

    for (size_t i = 0; i < json_array_size(records); i++) {
        json_t *record = json_array_get(records, i);

        if (strcmp(json_string_value(json_object_get(record, "event")), "alert") == 0)
            last = record;
    }
    return json_incref(last);
}

static void needs_approval(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);

    assert_null(grant);
    assert_int_equal(fx->reply.status, 202);
}

static void granted(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);

    if (!grant)
        fx_fail("refused", fx->reply.body);
}

static void test_key_stops_opening_without_a_promotion(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *alert = NULL;

    ask_again(fx, 1);
    fx->replicas[A].opens = PROBE_OPENS_NO;
    assert_alerts(fx, "master_key_closed", 1);
    alert = last_alert(fx);
    assert_string_equal(json_string_value(json_object_get(alert, "replica")), "node-a");
    assert_string_equal(json_string_value(json_object_get(alert, "database")), FX_DATABASE);
    /* Nothing follows of it but what the policy says of restarts. */
    needs_approval(fx, FX_AGENT_A);
    assert_int_equal(fx_count(fx, "unfinished", NULL), 0);
}

/* Of a key that was never seen to open nothing can be said; nor where a release is due. */
static void test_key_that_need_not_open(void **state)
{
    struct keeper_fixture *fx = *state;

    ask_again(fx, 3);
    fx_set_primary(fx, B);
    fx->replicas[B].opens = PROBE_OPENS_NO;
    fx_wait_primary(fx, "node-b");
    assert_int_equal(fx_count(fx, "alert", NULL), 0);
    granted(fx, FX_AGENT_B);
    /* Once the agent has had its time the survey asks for the members, and not for the key. */
    listed = 0;
    awaited = 1;
    fx->replicas[B].lie = note_members;
    fx_until(fx, is_listed);
    fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_ADMIN].identity, "");
    assert_int_equal(fx->replicas[B].opens_asked, 0);
}

/* A replica that is not primary any more says no as well. */
static void test_failover_is_no_closed_key(void **state)
{
    struct keeper_fixture *fx = *state;

    ask_again(fx, 1);
    fx->replicas[A].opens = PROBE_OPENS_NO;
    ask_again(fx, 1);
    fx_set_primary(fx, B);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(fx_count(fx, "alert", NULL), 0);
}

static const char *first_name(const json_t *alert, const char *list)
{
    const char *name = json_string_value(
        json_array_get(json_object_get(json_object_get(alert, "detail"), list), 0));

    return name ? name : "";
}

static void test_replica_added_but_not_in_the_policy(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *alert = NULL;

    fx->replicas[A].surplus = "SQLD";
    assert_alerts(fx, "membership_differs", 1);
    alert = last_alert(fx);
    assert_string_equal(first_name(alert, "added"), "SQLD");
    assert_string_equal(first_name(alert, "missing"), "");
    /* The policy's replicas are what counts, then as before. */
    fx_set_primary(fx, B);
    granted(fx, FX_AGENT_B);
}

static void test_replica_of_the_policy_that_is_no_member(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *alert = NULL;

    /* What a secondary lists is of no account: without its cluster it lists itself alone. */
    fx->replicas[B].lacking = "SQLA";
    ask_again(fx, 2);
    assert_int_equal(fx_count(fx, "alert", NULL), 0);
    fx->replicas[A].lacking = "SQLC";
    assert_alerts(fx, "membership_differs", 1);
    alert = last_alert(fx);
    assert_string_equal(first_name(alert, "missing"), "SQLC");
}

/* Each of its answers lists another name: one a minute is told. */
static bool list_anew(struct fx_replica *replica, const struct ipc_message *question,
                      void *argument)
{
    static char name[16];

    if (question->type == IPC_PROBE_ASK_MEMBERS) {
        snprintf(name, sizeof(name), "SQL%u", replica->asked);
        replica->surplus = name;
    }
    return note_members(replica, question, argument);
}

static void test_liar_with_ever_other_members(void **state)
{
    struct keeper_fixture *fx = *state;

    listed = 0;
    awaited = 3;
    fx->replicas[A].lie = list_anew;
    fx_until(fx, is_listed);
    /* The answer to this one came before. */
    fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_ADMIN].identity, "");
    assert_int_equal(fx_count(fx, "alert", "membership_differs"), 1);
}

static bool are_rounds_over(struct keeper_fixture *fx)
{
    return fx->replicas[C].asked >= awaited;
}

/* What GET /v1/status says of the key of a database, by its number in the policy; "": nothing. */
static const char *key_state(struct keeper_fixture *fx, size_t number, char ret_word[static 16])
{
    const struct fx_reply *reply = fx_ask(fx, ROUTE_STATUS, fx->actors[FX_ADMIN].identity, "");
    CLEANUP(json_free_p) json_t *status = NULL;
    const char *word;

    assert_non_null(reply->body);
    assert_int_equal(json_parse(reply->body, strlen(reply->body), 1 << 20, &status), ESCROW_OK);
    word = json_string_value(
        json_object_get(json_array_get(json_object_get(status, "groups"), number), "master_key"));
    snprintf(ret_word, 16, "%s", word ? word : "");
    return ret_word;
}

/*
 * Admins let a restart of one database pass, and that begins an epoch: the other database of the
 * group is due no release by it, and its key is looked after as before.
 */
static void test_key_beside_a_restart(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(asked_deinit) struct asked asked = asked_ask(fx);
    int64_t deadline_ms;
    char word[16];

    assert_int_equal(asked_approve(fx, FX_ADMIN, &asked), REASON_NONE);
    assert_int_equal(asked_approve(fx, FX_ADMIN_2, &asked), REASON_NONE);
    assert_int_equal(asked_again(fx, &asked), REASON_APPROVED);
    /* Two rounds of the watch, so a tick: what was known of the keys is forgotten. */
    awaited = fx->replicas[C].asked + 2;
    fx_until(fx, are_rounds_over);
    for (deadline_ms = 0; strcmp(key_state(fx, 1, word), "open") != 0; deadline_ms += 50) {
        assert_in_range(deadline_ms, 0, FX_DEADLINE_MS);
        fx_serve(fx, 50);
    }
    assert_string_equal(key_state(fx, 0, word), "");
}

static int set_up_closed(void **state)
{
    int result = fx_setup(state);
    struct keeper_fixture *fx = *state;

    fx->replicas[A].opens = PROBE_OPENS_NO;
    fx_publish(fx);
    fx_deposit(fx, FX_PASSWORD);
    fx_wait_primary(fx, "node-a");
    return result;
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_key_stops_opening_without_a_promotion),
        cmocka_unit_test_setup_teardown(test_key_that_need_not_open, set_up_closed, fx_teardown),
        READY(test_failover_is_no_closed_key),
        READY(test_replica_added_but_not_in_the_policy),
        READY(test_replica_of_the_policy_that_is_no_member),
        READY(test_liar_with_ever_other_members),
        cmocka_unit_test_setup_teardown(test_key_beside_a_restart, fx_setup_others, fx_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
