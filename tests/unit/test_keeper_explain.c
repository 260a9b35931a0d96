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

#include <cmocka.h>

/* GET /v1/explain says what would be decided; asked for it, the keeper then decides that. */

#define B 1 /* node-b */
#define REPLY_MAX ((size_t)1024 * 1024)
#define MANY 64

/* The reply; NULL: refused (fx->reply). */
static json_t *explain_as(struct keeper_fixture *fx, enum fx_who who, uint64_t target)
{
    const struct ipc_request request = {.route = ROUTE_EXPLAIN,
                                        .identity = fx->actors[who].identity,
                                        .from = target,
                                        .body = (const uint8_t *)""};
    json_t *document = NULL;

    assert_int_equal(fx_try_request(fx, ++fx->last_id, &request), ESCROW_OK);
    fx_wait(fx, fx->last_id);
    if (fx->reply.status != 200)
        return NULL;
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), REPLY_MAX, &document),
                     ESCROW_OK);
    return document;
}

/* Of a reply, borrowed. */
static const json_t *verdict_of(const json_t *document, const char *replica, const char *purpose)
{
    const json_t *decision;
    size_t i;

    json_array_foreach(json_object_get(document, "decisions"), i, decision)
    {
        const json_t *request = json_object_get(decision, "request");

        if (strcmp(json_string_value(json_object_get(request, "replica")), replica) == 0 &&
            strcmp(json_string_value(json_object_get(request, "purpose")), purpose) == 0)
            return json_object_get(decision, "verdict");
    }
    fx_fail("no decision for", replica);
}

static const char *word(const json_t *verdict, const char *name)
{
    return json_string_value(json_object_get(verdict, name));
}

static void assert_says(struct keeper_fixture *fx, const char *replica, const char *purpose,
                        const char *outcome, const char *reason)
{
    CLEANUP(json_free_p) json_t *document = explain_as(fx, FX_AUDITOR, 1);
    const json_t *verdict = verdict_of(document, replica, purpose);

    assert_string_equal(word(verdict, "outcome"), outcome);
    assert_string_equal(word(verdict, "reason"), reason);
}

/* Until the watch has heard what the replicas say now: the verdict for this one has this reason. */
static void wait_says(struct keeper_fixture *fx, const char *replica, const char *reason)
{
    for (int i = 0; i < FX_DEADLINE_MS / 20; i++) {
        CLEANUP(json_free_p) json_t *document = explain_as(fx, FX_AUDITOR, 1);

        if (document &&
            strcmp(word(verdict_of(document, replica, "promote"), "reason"), reason) == 0)
            return;
        fx_serve(fx, 20);
    }
    fx_fail("it does not say", reason);
}

/* The verdict in the last record of a release, owned by the caller. */
static json_t *last_verdict(struct keeper_fixture *fx)
{
    CLEANUP(json_free_p) json_t *records = fx_log(fx);
    const json_t *record, *last = NULL;
    size_t i;

    json_array_foreach(records, i, record)
    {
        if (strcmp(word(record, "event"), "release") == 0)
            last = record;
    }
    return json_copy_whole(json_object_get(json_object_get(last, "facts"), "verdict"));
}

/* What it says is what then is decided, rule by rule. */
static void assert_comes_true(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(json_free_p) json_t *document = explain_as(fx, FX_AUDITOR, 1);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);
    CLEANUP(json_free_p) json_t *verdict = last_verdict(fx);

    assert_true(json_equal(verdict_of(document, fx->actors[who].instance, "promote"), verdict));
    (void)grant;
}

static void test_it_comes_true(void **state)
{
    struct keeper_fixture *fx = *state;

    wait_says(fx, "node-a", "restart");
    assert_says(fx, "node-a", "promote", "needs_approval", "restart");
    assert_says(fx, "node-b", "promote", "deny", "candidate_not_primary");
    assert_comes_true(fx, FX_AGENT_A);
    assert_comes_true(fx, FX_AGENT_B);
    fx_set_primary(fx, B);
    wait_says(fx, "node-b", "promotion");
    assert_says(fx, "node-a", "promote", "deny", "candidate_not_primary");
    assert_comes_true(fx, FX_AGENT_B);
    wait_says(fx, "node-b", "promotion_repeat");
    assert_comes_true(fx, FX_AGENT_B);
    fx->replicas[0].state.role = 1;
    wait_says(fx, "node-b", "rival_primary");
    assert_comes_true(fx, FX_AGENT_B);
}

/* However often: no record, no question but those of the watch, and the promotion is still whole.
 */
static void test_it_uses_nothing_up(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(json_free_p) json_t *before = NULL;
    CLEANUP(json_free_p) json_t *after = NULL;
    uint64_t commands;
    unsigned asked;

    fx_set_primary(fx, B);
    wait_says(fx, "node-b", "promotion");
    before = fx_log(fx);
    asked = fx->asked;
    commands = fx_tpm_commands(fx);
    for (int i = 0; i < MANY; i++)
        assert_says(fx, "node-b", "promote", "allow", "promotion");
    assert_true(fx->asked - asked < MANY);
    assert_true(fx_tpm_commands(fx) - commands < MANY);
    after = fx_log(fx);
    assert_int_equal(json_array_size(after), json_array_size(before));
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
    assert_string_equal(reason_code(grant->grant.reason), "promotion");
}

/* Rotations and drills need an order that nobody has used; then the same proof as everything. */
static void test_an_order_counts_while_it_lives(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_ORDER);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    wait_says(fx, "node-a", "restart");
    assert_says(fx, "node-a", "drill", "deny", "order_unknown");
    act->purpose = PURPOSE_DRILL;
    act->order.expires_in_s = 60;
    noted = fx_act(fx, FX_ADMIN, ROUTE_ORDER, act);
    assert_non_null(noted);
    assert_says(fx, "node-a", "drill", "allow", "ordered");
    assert_says(fx, "node-a", "rotate", "deny", "order_unknown");
    assert_says(fx, "node-b", "drill", "deny", "candidate_not_primary");
}

static void assert_refused(struct keeper_fixture *fx, enum fx_who who, uint64_t target,
                           enum reason reason)
{
    CLEANUP(json_free_p) json_t *document = explain_as(fx, who, target);

    assert_null(document);
    assert_string_equal(reason_code(fx->reply.reason), reason_code(reason));
    assert_string_equal(fx->reply.body, "");
}

static void test_who_may_read_it(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *by_admin = NULL;
    CLEANUP(json_free_p) json_t *by_auditor = NULL;
    struct fx_actor stranger = fx->actors[FX_AUDITOR];

    wait_says(fx, "node-a", "restart");
    by_admin = explain_as(fx, FX_ADMIN, 1);
    by_auditor = explain_as(fx, FX_AUDITOR, 1);
    assert_non_null(by_admin);
    assert_non_null(by_auditor);
    assert_refused(fx, FX_AGENT_A, 1, REASON_ROLE_NOT_ALLOWED);
    fx->actors[FX_AUDITOR].identity = "spiffe://test/nobody";
    assert_refused(fx, FX_AUDITOR, 1, REASON_IDENTITY_UNKNOWN);
    fx->actors[FX_AUDITOR] = stranger;
    /* Whoever may not know is not told what there is either. */
    assert_refused(fx, FX_AGENT_A, 7, REASON_ROLE_NOT_ALLOWED);
    assert_refused(fx, FX_AUDITOR, 2, REASON_DATABASE_UNKNOWN);
    assert_refused(fx, FX_AUDITOR, UINT64_MAX, REASON_DATABASE_UNKNOWN);
}

/* Before the watch has asked once there is nothing to rest on. */
static void test_nothing_is_said_before_the_first_round(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_shut_down(fx);
    for (int i = 0; i < FX_REPLICAS; i++)
        fx->replicas[i].is_hung = true;
    fx_run(fx);
    assert_refused(fx, FX_AUDITOR, 1, REASON_STARTING);
    wait_says(fx, "node-a", "candidate_unreachable");
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_it_comes_true),
        READY(test_it_uses_nothing_up),
        READY(test_an_order_counts_while_it_lives),
        READY(test_who_may_read_it),
        READY(test_nothing_is_said_before_the_first_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
