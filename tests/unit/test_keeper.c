/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/json.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The life of a member: from nothing to a release, and over restarts. */

static void assert_opens(const struct answer *grant, EVP_PKEY *recipient, const char *expected)
{
    CLEANUP(secret_free_p) struct secret *password = fx_open(grant, recipient);

    assert_int_equal(password->len, strlen(expected));
    assert_memory_equal(password->bytes, expected, password->len);
}

static struct act *receipt_for(const struct answer *grant, enum act_outcome outcome)
{
    struct act *act = act_new(ACT_RECEIPT);

    act->purpose = PURPOSE_PROMOTE;
    memcpy(act->receipt.replica, grant->grant.replica, sizeof(act->receipt.replica));
    act->receipt.grant = grant->sequence;
    act->receipt.outcome = outcome;
    return act;
}

/* What the service manager is told. */
static bool says_ready(struct keeper_fixture *fx)
{
    return strncmp(fx->status, "Ready", 5) == 0;
}

static void test_straight_path(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL, *noted = NULL, *late = NULL;
    CLEANUP(act_free_p) struct act *receipt = NULL, *unknown = NULL;

    assert_true(fx_lacks(fx, REASON_NO_ROSTER));
    fx_publish(fx);
    fx_until(fx, says_ready);
    fx_deposit(fx, FX_PASSWORD);
    fx_wait_primary(fx, "node-a");
    fx_set_primary(fx, 1);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
    assert_int_equal(grant->grant.reason, REASON_PROMOTION);
    assert_int_equal(grant->grant.epoch, 2);
    assert_opens(grant, recipient, FX_PASSWORD);

    receipt = receipt_for(grant, OUTCOME_OPENED);
    noted = fx_act(fx, FX_AGENT_B, ROUTE_RECEIPT, receipt);
    assert_non_null(noted);
    unknown = receipt_for(grant, OUTCOME_OPENED);
    unknown->receipt.grant++;
    assert_null(fx_act(fx, FX_AGENT_B, ROUTE_RECEIPT, unknown));
    assert_int_equal(fx->reply.reason, REASON_GRANT_UNKNOWN);
    fx_wait_count(fx, "settle", "grant_proved", 1);

    /* Settled: what the same replica wants now is a restart. */
    late = fx_release(fx, FX_AGENT_B, recipient);
    assert_null(late);
    assert_int_equal(fx->reply.status, 202);
    assert_non_null(strstr(fx->reply.body, "\"reason\":\"restart\""));
    assert_int_equal(fx_count(fx, "alert", NULL), 0);
}

static void test_restart_keeps_everything(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *first = NULL, *second = NULL;

    fx_set_primary(fx, 1);
    first = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(first);
    fx_shut_down(fx);
    fx_run(fx);
    second = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(second);
    assert_int_equal(second->grant.reason, REASON_PROMOTION_REPEAT);
    assert_int_equal(second->grant.epoch, first->grant.epoch);
    assert_opens(second, recipient, FX_PASSWORD);
    assert_int_equal(fx_count(fx, "shutdown", NULL), 1);
    assert_int_equal(fx_count(fx, "start", NULL), 2);
}

static void test_killed_and_without_its_store(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    static const char *const suffixes[] = {"", "-wal"};

    fx_kill(fx);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char path[400];

        snprintf(path, sizeof(path), "%s/store.sqlite%s", fx->config.state_folder, suffixes[i]);
        assert_int_equal(unlink(path), 0);
    }
    fx_run(fx);
    fx_set_primary(fx, 1);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
    assert_int_equal(grant->grant.epoch, 2);
    assert_opens(grant, recipient, FX_PASSWORD);
}

static void test_second_version(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL, *grant = NULL;

    fx_deposit(fx, "second");
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    assert_non_null(challenge);
    assert_int_equal(challenge->object_count, 2);
    assert_int_equal(challenge->objects[0].version, 2);
    assert_int_equal(challenge->objects[0].state, SECRET_ACTIVE);
    assert_int_equal(challenge->objects[1].state, SECRET_RETIRED);
    fx_set_primary(fx, 1);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
    assert_opens(grant, recipient, "second");
}

/* An agent that got 15313 asks for the older versions too, in the same grant. */
static void test_retired_version_in_one_grant(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *challenge = NULL, *grant = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;

    fx_deposit(fx, "second");
    fx_set_primary(fx, 1);
    challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    assert_non_null(challenge);
    act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    act->release.object_count = 2;
    act->release.objects[1].object = challenge->objects[1].name;
    assert_int_equal(act_sign_objects(fx->actors[FX_AGENT_B].key, &act->release.recipient,
                                      act->release.objects, 2),
                     ESCROW_OK);
    grant = fx_act(fx, FX_AGENT_B, ROUTE_RELEASE, act);
    assert_non_null(grant);
    assert_int_equal(grant->object_count, 2);
    grant->objects[0] = grant->objects[1];
    assert_opens(grant, recipient, FX_PASSWORD);
}

static json_t *ask_json(struct keeper_fixture *fx, enum route route, enum fx_who who)
{
    json_t *document;

    assert_int_equal(fx_reason(fx, route, who, ""), REASON_NONE);
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 1 << 20, &document),
                     ESCROW_OK);
    return document;
}

static void test_queries(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *roster = ask_json(fx, ROUTE_ROSTER, FX_AGENT_A);
    CLEANUP(json_free_p) json_t *secrets = ask_json(fx, ROUTE_SECRETS, FX_AGENT_A);
    CLEANUP(json_free_p) json_t *status = ask_json(fx, ROUTE_STATUS, FX_AUDITOR);
    const json_t *secret = json_array_get(json_object_get(secrets, "secrets"), 0);
    const json_t *replica;

    assert_string_equal(json_string_value(json_object_get(roster, "roster")),
                        roster_compact(fx->roster));
    assert_string_equal(json_string_value(json_object_get(secret, "database")), FX_DATABASE);
    assert_int_equal(json_array_size(json_object_get(secret, "versions")), 1);
    assert_true(json_is_true(json_object_get(status, "ready")));
    assert_int_equal(json_integer_value(json_object_get(status, "versions")), 1);
    assert_int_equal(json_integer_value(json_object_get(status, "unimported")), 0);
    replica = json_array_get(
        json_object_get(json_array_get(json_object_get(status, "groups"), 0), "replicas"), 1);
    assert_string_equal(json_string_value(json_object_get(replica, "role")), "secondary");

    assert_int_equal(fx_reason(fx, ROUTE_AUDIT, FX_AGENT_A, ""), REASON_ROLE_NOT_ALLOWED);
    fx_ask(fx, ROUTE_SECRETS, "spiffe://corp.example/stranger", "");
    assert_int_equal(fx->reply.reason, REASON_IDENTITY_UNKNOWN);
}

static struct act *drill_order(void)
{
    struct act *act = act_new(ACT_ORDER);

    act->purpose = PURPOSE_DRILL;
    act->order.expires_in_s = 60;
    return act;
}

static struct answer *drill(struct keeper_fixture *fx, enum fx_who who, const char *order)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_RELEASE, PURPOSE_DRILL);
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, who, challenge, recipient);

    act->purpose = PURPOSE_DRILL;
    snprintf(act->release.order, sizeof(act->release.order), "%s", order);
    return fx_act(fx, who, ROUTE_RELEASE, act);
}

static void test_orders(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *none = ask_json(fx, ROUTE_ORDERS, FX_AGENT_A);
    CLEANUP(json_free_p) json_t *orders = NULL, *after = NULL;
    CLEANUP(answer_free_p) struct answer *noted = NULL, *grant = NULL, *again = NULL;
    CLEANUP(act_free_p) struct act *act = drill_order(), *by_agent = drill_order();
    const char *id;

    assert_int_equal(json_array_size(json_object_get(none, "orders")), 0);
    assert_null(fx_act(fx, FX_AGENT_A, ROUTE_ORDER, by_agent));
    assert_int_equal(fx->reply.reason, REASON_ROLE_NOT_ALLOWED);
    noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, act);
    assert_non_null(noted);
    orders = ask_json(fx, ROUTE_ORDERS, FX_AGENT_A);
    id = json_string_value(
        json_object_get(json_array_get(json_object_get(orders, "orders"), 0), "order"));
    assert_non_null(id);

    assert_null(drill(fx, FX_AGENT_A, "0123456789abcdef"));
    assert_int_equal(fx->reply.reason, REASON_ORDER_UNKNOWN);
    grant = drill(fx, FX_AGENT_A, id);
    assert_non_null(grant);
    assert_int_equal(grant->grant.reason, REASON_ORDERED);
    after = ask_json(fx, ROUTE_ORDERS, FX_AGENT_A);
    assert_int_equal(json_array_size(json_object_get(after, "orders")), 0);

    /* The order is node-a's now: after a failover node-b cannot use it. */
    fx_set_primary(fx, 1);
    again = drill(fx, FX_AGENT_B, id);
    assert_null(again);
    assert_int_equal(fx->reply.reason, REASON_ORDER_UNKNOWN);
}

/* The id of the one order for this group. */
static const char *order_of(const json_t *orders, const char *group)
{
    const json_t *all = json_object_get(orders, "orders");

    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *order = json_array_get(all, i);

        if (strcmp(json_string_value(json_object_get(order, "group")), group) == 0)
            return json_string_value(json_object_get(order, "order"));
    }
    fx_fail("no order for", group);
}

/* An order is for one database of one group. */
static void test_orders_of_another_place(void **state)
{
    static const struct act_subject places[] = {{"other", FX_DATABASE}, {FX_GROUP, "Other"}};
    struct keeper_fixture *fx = *state;

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        CLEANUP(act_free_p) struct act *act = drill_order();
        CLEANUP(answer_free_p) struct answer *noted = NULL;
        CLEANUP(json_free_p) json_t *orders = NULL;

        fx->subject = &places[i];
        noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, act);
        assert_non_null(noted);
        fx->subject = NULL;
        orders = ask_json(fx, ROUTE_ORDERS, FX_AGENT_A);
        assert_null(drill(fx, FX_AGENT_A, order_of(orders, places[i].group)));
        assert_int_equal(fx->reply.reason, REASON_ORDER_UNKNOWN);
    }
}

static void test_waiting_agent_hears_of_an_order_at_once(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *act = drill_order();
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_ORDER, PURPOSE_DRILL);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_ADMIN, challenge, act);
    uint64_t waiting = fx_send(fx, ROUTE_ORDERS, fx->actors[FX_AGENT_B].identity, "");

    fx_send(fx, ROUTE_ORDER, fx->actors[FX_ADMIN].identity, body);
    fx_wait(fx, waiting);
    assert_non_null(strstr(fx->reply.body, "\"purpose\":\"drill\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_straight_path, fx_setup, fx_teardown),
        cmocka_unit_test_setup_teardown(test_restart_keeps_everything, fx_setup_ready, fx_teardown),
        cmocka_unit_test_setup_teardown(test_killed_and_without_its_store, fx_setup_ready,
                                        fx_teardown),
        cmocka_unit_test_setup_teardown(test_second_version, fx_setup_ready, fx_teardown),
        cmocka_unit_test_setup_teardown(test_retired_version_in_one_grant, fx_setup_ready,
                                        fx_teardown),
        cmocka_unit_test_setup_teardown(test_queries, fx_setup_ready, fx_teardown),
        cmocka_unit_test_setup_teardown(test_orders, fx_setup_ready, fx_teardown),
        cmocka_unit_test_setup_teardown(test_orders_of_another_place, fx_setup_others, fx_teardown),
        cmocka_unit_test_setup_teardown(test_waiting_agent_hears_of_an_order_at_once,
                                        fx_setup_ready, fx_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
