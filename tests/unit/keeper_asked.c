/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/keeper_asked.h"

#include "libescrow/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void asked_deinit(struct asked *asked)
{
    EVP_PKEY_free(asked->recipient);
}

uint64_t asked_number(const struct fx_reply *reply)
{
    CLEANUP(json_free_p) json_t *document = NULL;

    if (reply->status != 202)
        return 0;
    assert_int_equal(json_parse(reply->body, strlen(reply->body), 4096, &document), ESCROW_OK);
    return (uint64_t)json_integer_value(json_object_get(document, "request"));
}

struct asked asked_ask(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_A, ACT_RELEASE, PURPOSE_PROMOTE);
    struct asked asked = {.recipient = key_generate()};
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    assert_non_null(challenge);
    asked.object = challenge->objects[0].name;
    grant = fx_release(fx, FX_AGENT_A, asked.recipient);
    assert_null(grant);
    asked.number = asked_number(&fx->reply);
    return asked;
}

struct act *asked_approve_act(struct keeper_fixture *fx, enum fx_who who, const struct asked *asked)
{
    struct act *act = act_new(ACT_APPROVE);
    struct ec_point recipient;

    assert_int_equal(key_point(asked->recipient, &recipient), ESCROW_OK);
    act->purpose = PURPOSE_PROMOTE;
    act->approve.request = asked->number;
    act->approve.object_count = 1;
    act->approve.objects[0].object = asked->object;
    assert_int_equal(act_sign_objects(fx->actors[who].key, &recipient, act->approve.objects, 1),
                     ESCROW_OK);
    return act;
}

enum reason asked_send(struct keeper_fixture *fx, enum fx_who who, struct act *act)
{
    CLEANUP(answer_free_p) struct answer *noted = fx_act(fx, who, ROUTE_APPROVE, act);

    return noted ? REASON_NONE : fx->reply.reason;
}

enum reason asked_approve(struct keeper_fixture *fx, enum fx_who who, const struct asked *asked)
{
    CLEANUP(act_free_p) struct act *act = asked_approve_act(fx, who, asked);

    return asked_send(fx, who, act);
}

enum reason asked_again(struct keeper_fixture *fx, const struct asked *asked)
{
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, FX_AGENT_A, asked->recipient);
    CLEANUP(secret_free_p) struct secret *password = NULL;

    if (!grant)
        return fx->reply.reason;
    password = fx_open(grant, asked->recipient);
    assert_memory_equal(password->bytes, FX_PASSWORD, password->len);
    return grant->grant.reason;
}

const char *asked_member(struct keeper_fixture *fx, uint64_t number, const char *name)
{
    static char text[8192];
    const struct ipc_request request = {
        .route = ROUTE_REQUEST, .identity = fx->actors[FX_AUDITOR].identity, .from = number};
    CLEANUP(json_free_p) json_t *document = NULL;
    const json_t *value;

    assert_int_equal(fx_try_request(fx, ++fx->last_id, &request), ESCROW_OK);
    fx_wait(fx, fx->last_id);
    if (fx->reply.status != 200)
        return reason_code(fx->reply.reason);
    assert_int_equal(json_parse(fx->reply.body, strlen(fx->reply.body), 65536, &document),
                     ESCROW_OK);
    value = json_object_get(document, name);
    if (json_is_integer(value))
        snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        snprintf(text, sizeof(text), "%s", json_is_string(value) ? json_string_value(value) : "-");
    return text;
}
