/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A front that was taken over has heard an honest session, knows every identity, gets every nonce,
 * and says what it likes. Without the signature of an enrolled act key nothing leaves, nothing is
 * stored and nothing is ordered; the log says so, and the next front is served.
 */
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "libescrow/rpc.h"
#include "tests/unit/keeper_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define STEPS 3000
#define STEPS_ALL 60000

/* What an honest client sent, and front kept. */
struct heard {
    enum route route;
    enum fx_who who;
    char *body;
};

enum {
    HEARD_CHALLENGE,
    HEARD_RELEASE,
    HEARD_RECEIPT,
    HEARD_DEPOSIT,
    HEARD_ORDER,
    HEARD_PUBLISH,
    HEARD_COUNT
};

static const enum route act_routes[] = {ROUTE_RELEASE, ROUTE_DEPOSIT, ROUTE_RECEIPT, ROUTE_ORDER,
                                        ROUTE_PUBLISH};

static struct heard heard[HEARD_COUNT];
static char *undelivered; /* a release by node-b that front kept from the keeper */
static struct answer *open_challenge;
static EVP_PKEY *recipient, *stranger;
static unsigned refused;

/* ---- the honest session ---- */

static void hear(struct keeper_fixture *fx, size_t index, enum route route, enum fx_who who,
                 char *body)
{
    heard[index] = (struct heard){route, who, body};
    fx_ask(fx, route, fx->actors[who].identity, body);
    if (fx->reply.status != 200)
        fx_fail("the honest session", reason_code(fx->reply.reason));
}

static void hear_act(struct keeper_fixture *fx, size_t index, enum route route, enum fx_who who,
                     struct act *act)
{
    CLEANUP(act_free_p) struct act *owned = act;
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, act->kind, act->purpose);

    hear(fx, index, route, who, fx_sign(fx, who, challenge, owned));
}

static struct act *receipt_of(const struct answer *grant)
{
    struct act *act = act_new(ACT_RECEIPT);

    act->purpose = PURPOSE_PROMOTE;
    memcpy(act->receipt.replica, grant->grant.replica, sizeof(act->receipt.replica));
    act->receipt.grant = grant->sequence;
    act->receipt.outcome = OUTCOME_OPENED;
    return act;
}

static void hear_release(struct keeper_fixture *fx)
{
    const struct rpc_challenge wanted = {.act = ACT_RELEASE,
                                         .purpose = PURPOSE_PROMOTE,
                                         .subject = {FX_GROUP, FX_DATABASE},
                                         .key = fx->actors[FX_AGENT_B].name};
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    struct answer_expect expect = {ANSWER_GRANT, &fx->actors[FX_AGENT_B].name, NULL};
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    const struct roster_member *member;

    hear(fx, HEARD_CHALLENGE, ROUTE_CHALLENGE, FX_AGENT_B, rpc_challenge_text(&wanted));
    hear(fx, HEARD_RELEASE, ROUTE_RELEASE, FX_AGENT_B, fx_sign(fx, FX_AGENT_B, challenge, act));
    expect.nonce = act->nonce;
    assert_int_equal(rpc_unwrap(fx->reply.body, strlen(fx->reply.body), "answer", &compact),
                     ESCROW_OK);
    assert_int_equal(answer_verify(compact, strlen(compact), fx->roster, &expect, &grant, &member),
                     ESCROW_OK);
    hear_act(fx, HEARD_RECEIPT, ROUTE_RECEIPT, FX_AGENT_B, receipt_of(grant));
}

static void hear_admin(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    CLEANUP(act_free_p) struct act *deposit = fx_deposit_act(fx, challenge, "the second one");
    CLEANUP(json_free_p) json_t *payload = fx_roster_payload(fx, 2);
    struct act *order = act_new(ACT_ORDER), *publish = act_new(ACT_PUBLISH);

    hear(fx, HEARD_DEPOSIT, ROUTE_DEPOSIT, FX_ADMIN, fx_sign(fx, FX_ADMIN, challenge, deposit));
    order->purpose = PURPOSE_DRILL;
    order->order.expires_in_s = 3600;
    hear_act(fx, HEARD_ORDER, ROUTE_ORDER, FX_ADMIN, order);
    roster_free(fx->roster);
    assert_int_equal(roster_sign(payload, fx->authority, &fx->roster), ESCROW_OK);
    publish->purpose = PURPOSE_PUBLISH;
    publish->publish.roster = strdup(roster_compact(fx->roster));
    hear_act(fx, HEARD_PUBLISH, ROUTE_PUBLISH, FX_ADMIN, publish);
}

/* A signed act that front keeps to itself, with its nonce still open. */
static void keep_back(struct keeper_fixture *fx)
{
    CLEANUP(act_free_p) struct act *act = NULL;

    open_challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    assert_non_null(open_challenge);
    act = fx_release_act(fx, FX_AGENT_B, open_challenge, recipient);
    undelivered = fx_sign(fx, FX_AGENT_B, open_challenge, act);
}

/* ---- the property ---- */

static bool is_act(enum route route)
{
    for (size_t i = 0; i < ARRAY_LEN(act_routes); i++) {
        if (act_routes[i] == route)
            return true;
    }
    return false;
}

/* Every id of this program tells the route of its request. */
static uint64_t next_id(struct keeper_fixture *fx, enum route route)
{
    return ++fx->last_id << 8 | route;
}

static void on_reply(struct keeper_fixture *fx, uint64_t id, const struct ipc_reply *reply)
{
    (void)fx;
    if (!is_act((enum route)(id & 0xff)))
        return;
    if (reply->http_status < 400 || reply->content != IPC_CONTENT_PROBLEM)
        fx_fail("a forged act was served", reason_code(reply->reason));
    refused++;
}

/* Waits for the reply to each: an act that is still undecided could be served behind our back. */
static enum reason say(struct keeper_fixture *fx, enum route route, const char *identity,
                       const char *body)
{
    const struct ipc_request request = {.route = route,
                                        .identity = identity,
                                        .from = 1,
                                        .limit = 10,
                                        .body = (const uint8_t *)body,
                                        .body_len = strlen(body)};
    uint64_t id = next_id(fx, route);

    assert_int_equal(fx_try_request(fx, id, &request), ESCROW_OK);
    fx_wait(fx, id);
    return fx->reply.reason;
}

/* How many records there are of what was let out, taken in, ordered or published. */
static size_t served(struct keeper_fixture *fx)
{
    static const char *const harmless[] = {"refusal", "unproved", "epoch"};
    CLEANUP(json_free_p) json_t *records = fx_log(fx);
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(records); i++) {
        const char *event = json_string_value(json_object_get(json_array_get(records, i), "event"));
        bool is_harmless = false;

        for (size_t j = 0; j < ARRAY_LEN(harmless); j++)
            is_harmless |= strcmp(event, harmless[j]) == 0;
        count += !is_harmless;
    }
    return count;
}

/* ---- forging ---- */

/* An act in its parts; header and payload are the caller's to bend. */
struct parts {
    json_t *header, *payload;
    char *signature;
};

static void parts_deinit(struct parts *parts)
{
    json_decref(parts->header);
    json_decref(parts->payload);
    free(parts->signature);
}

static json_t *decode(const char *text, size_t len)
{
    CLEANUP(cleanup_free) char *bytes = calloc(1, len + 1);
    size_t got;

    assert_int_equal(b64url_decode(text, len, bytes, len, &got), ESCROW_OK);
    return json_loadb(bytes, got, 0, NULL);
}

static struct parts take_apart(const char *body)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    const char *payload, *signature;

    assert_int_equal(rpc_unwrap(body, strlen(body), "act", &compact), ESCROW_OK);
    payload = strchr(compact, '.') + 1;
    signature = strchr(payload, '.') + 1;
    return (struct parts){decode(compact, (size_t)(payload - compact) - 1),
                          decode(payload, (size_t)(signature - payload) - 1), strdup(signature)};
}

/* {"act": header.payload.signature}, whatever these are. */
static char *put_together(const struct parts *parts)
{
    CLEANUP(cleanup_free) char *header = json_dumps(parts->header, JSON_COMPACT | JSON_SORT_KEYS);
    CLEANUP(cleanup_free) char *payload = json_dumps(parts->payload, JSON_COMPACT | JSON_SORT_KEYS);
    CLEANUP(cleanup_free) char *first = b64url_encode(header, strlen(header));
    CLEANUP(cleanup_free) char *second = b64url_encode(payload, strlen(payload));
    CLEANUP(cleanup_free) char *compact = NULL;

    assert_true(asprintf(&compact, "%s.%s.%s", first, second, parts->signature) > 0);
    return rpc_wrap("act", compact);
}

/* Signed anew by this key under this kid. NULL where even that cannot be. */
static char *sign_as(const struct parts *parts, EVP_PKEY *key, const struct tpm_name *kid)
{
    CLEANUP(json_free_p) json_t *header = json_deep_copy(parts->header);
    CLEANUP(cleanup_free) char *compact = NULL;
    struct jws_signer signer;

    json_object_del(header, "alg");
    json_object_del(header, "kid");
    assert_int_equal(jws_signer_from_key(key, &signer), ESCROW_OK);
    signer.kid = *kid;
    return jws_sign(&signer, header, parts->payload, &compact) ? NULL : rpc_wrap("act", compact);
}

/* As front has it: the old signature, a stranger's under the victim's name, an auditor's own. */
static void try_forgery(struct keeper_fixture *fx, const struct heard *from,
                        const struct parts *parts)
{
    const struct fx_actor *victim = &fx->actors[from->who], *auditor = &fx->actors[FX_AUDITOR];
    CLEANUP(cleanup_free) char *kept = put_together(parts);
    CLEANUP(cleanup_free) char *forged = sign_as(parts, stranger, &victim->name);
    CLEANUP(cleanup_free) char *foreign = sign_as(parts, auditor->key, &auditor->name);

    say(fx, from->route, victim->identity, kept);
    if (forged)
        say(fx, from->route, victim->identity, forged);
    if (foreign) {
        say(fx, from->route, victim->identity, foreign);
        say(fx, from->route, auditor->identity, foreign);
    }
}

static json_t *wrong_value(unsigned number, const json_t *right, const char *member)
{
    switch (number) {
    case 0:
        return json_null();
    case 1:
        return json_string("");
    case 2:
        return json_integer(0);
    case 3:
        return json_array();
    case 4: { /* the same member of a release that is signed, too */
        CLEANUP(parts_deinit) struct parts other = take_apart(undelivered);
        json_t *value = json_object_get(other.payload, member);

        return json_deep_copy(value ? value : json_object_get(other.header, member));
    }
    default:
        return json_is_string(right) ? json_sprintf("%sA", json_string_value(right)) : NULL;
    }
}

/* Every member of header and payload, with every wrong value. */
static void bend(struct keeper_fixture *fx, const struct heard *from, bool is_header)
{
    CLEANUP(parts_deinit) struct parts right = take_apart(from->body);
    const char *member;
    json_t *value;

    json_object_foreach(is_header ? right.header : right.payload, member, value)
    {
        for (unsigned number = 0; number < 6; number++) {
            CLEANUP(parts_deinit)
            struct parts bent = {json_deep_copy(right.header), json_deep_copy(right.payload),
                                 strdup(right.signature)};
            json_t *object = is_header ? bent.header : bent.payload;
            json_t *wrong = wrong_value(number, value, member);

            if (wrong)
                json_object_set_new(object, member, wrong);
            else
                json_object_del(object, member);
            try_forgery(fx, from, &bent);
        }
    }
}

static void test_every_member_bent(void **state)
{
    struct keeper_fixture *fx = *state;

    for (size_t i = HEARD_RELEASE; i < HEARD_COUNT; i++) {
        bend(fx, &heard[i], true);
        bend(fx, &heard[i], false);
    }
}

/* Word for word, under every identity, at every door. */
static void test_replays(void **state)
{
    struct keeper_fixture *fx = *state;

    for (size_t i = HEARD_RELEASE; i < HEARD_COUNT; i++) {
        for (size_t j = 0; j < ARRAY_LEN(act_routes); j++) {
            for (int who = 0; who < FX_ACTORS; who++) {
                enum reason reason =
                    say(fx, act_routes[j], fx->actors[who].identity, heard[i].body);

                /* Two actors may be one admin with two keys. */
                if (strcmp(fx->actors[who].identity, fx->actors[heard[i].who].identity) != 0)
                    assert_int_equal(reason, REASON_IDENTITY_MISMATCH);
                else if (act_routes[j] == heard[i].route)
                    assert_int_equal(reason, REASON_NONCE_INVALID);
                else
                    assert_int_equal(reason, REASON_ACT_MISMATCH);
            }
        }
    }
}

/* Who knows the kid needs the key: no algorithm, another one, the right form of nothing. */
static void test_signatures_that_are_none(void **state)
{
    static const char *const algorithms[] = {"none", "HS256", "ES384", "es256", "RS256", ""};
    struct keeper_fixture *fx = *state;
    const struct heard *from = &heard[HEARD_RELEASE];
    char zeros[B64URL_LEN(ECDSA_SIGNATURE_BYTES) + 1];

    memset(zeros, 'A', sizeof(zeros) - 1);
    zeros[sizeof(zeros) - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        CLEANUP(parts_deinit) struct parts parts = take_apart(undelivered);

        json_object_set_new(parts.header, "alg", json_string(algorithms[i]));
        try_forgery(fx, from, &parts);
        free(parts.signature);
        parts.signature = strdup(i % 2 ? "" : zeros);
        try_forgery(fx, from, &parts);
        json_object_set_new(parts.header, "alg", json_string("ES256"));
        try_forgery(fx, from, &parts);
    }
}

/* The nonce of now in yesterday's act, and the recipient of front's own in an act of now. */
static void test_fresh_nonce_and_own_recipient(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(parts_deinit) struct parts old = take_apart(heard[HEARD_RELEASE].body);
    CLEANUP(parts_deinit) struct parts now = take_apart(undelivered);
    CLEANUP(key_free_p) EVP_PKEY *own = key_generate();
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_A, open_challenge, own);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_AGENT_A, open_challenge, act);
    struct ec_point point;

    json_object_set(old.header, "nonce", json_object_get(now.header, "nonce"));
    try_forgery(fx, &heard[HEARD_RELEASE], &old);
    assert_int_equal(key_point(own, &point), ESCROW_OK);
    assert_non_null(json_object_get(now.payload, "recipient"));
    json_object_set_new(now.payload, "recipient", json_point(&point));
    try_forgery(fx, &heard[HEARD_RELEASE], &now);
    /* Signed by node-a for node-a, with node-b's nonce, on node-b's channel and on its own. */
    assert_int_equal(say(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, body),
                     REASON_IDENTITY_MISMATCH);
    assert_int_equal(say(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_A].identity, body),
                     REASON_NONCE_INVALID);
}

/* ---- random sequences ---- */

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static const char *draw_identity(const struct keeper_fixture *fx)
{
    /* Not node-a's: it must have a nonce left in the end. */
    static const enum fx_who who[] = {FX_AGENT_B, FX_ADMIN, FX_AUDITOR};

    return draw(8) ? fx->actors[who[draw(ARRAY_LEN(who))]].identity
                   : "spiffe://corp.example/nobody";
}

static void flip(char *character, uint64_t bits)
{
    *character = (char)((unsigned char)*character ^ bits);
}

/* A body that was heard, with some bytes of it changed or cut; never the one that is good. */
static char *draw_body(void)
{
    const char *from = draw(4) ? heard[draw(HEARD_COUNT)].body : undelivered;
    char *body = strdup(from);
    size_t len = strlen(body);

    if (from != undelivered && draw(2))
        return body;
    if (draw(4) == 0)
        body[draw(len)] = '\0';
    else
        for (uint64_t changes = 1 + draw(4); changes > 0; changes--)
            flip(&body[8 + draw(len - 10)], 1 + draw(3));
    if (strcmp(body, undelivered) == 0)
        flip(&body[9], 1);
    return body;
}

/* Nothing is taken from a front that leaves its replies unread: it reads until the message goes. */
static void tell(struct keeper_fixture *fx, const struct ipc_header *header)
{
    enum escrow_err err;

    while ((err = ipc_try_send(fx->front_fd, header, NULL, -1)) == ESCROW_ERR_TIMEOUT)
        fx_serve(fx, 100);
    assert_int_equal(err, ESCROW_OK);
}

static void random_step(struct keeper_fixture *fx)
{
    enum route route = (enum route)(1 + draw(ROUTE_COUNT - 1));
    struct ipc_header header = {.type = IPC_GONE,
                                .id = draw(4) ? fx->last_id << 8 | route : draw(9)};
    CLEANUP(cleanup_free) char *body = draw_body();
    const struct ipc_request request = {.route = draw(2) ? route : act_routes[draw(5)],
                                        .identity = draw_identity(fx),
                                        .wait_ms = draw(2) ? draw(100) : UINT64_MAX - draw(9),
                                        .from = draw(2) ? draw(99) : UINT64_MAX - draw(9),
                                        .limit = draw(2) ? draw(99) : UINT64_MAX - draw(9),
                                        .body = (const uint8_t *)body,
                                        .body_len = strlen(body)};

    if (draw(200) == 0) { /* what kills it */
        unsigned before = fx->front_restarts;

        header.type = draw(2) ? IPC_REPLY : (uint32_t)draw(UINT32_MAX) | 0x1000;
        tell(fx, &header);
        fx_wait_front_restarts(fx, before + 1);
        fx_attach_front(fx);
    } else if (draw(5) == 0) {
        tell(fx, &header);
    } else {
        uint64_t id = next_id(fx, request.route);

        while (fx_try_request(fx, id, &request) == ESCROW_ERR_TIMEOUT)
            fx_serve(fx, 100);
    }
    if (draw(3) == 0)
        fx_serve(fx, 0);
}

static void test_random_sequences(void **state)
{
    const char *all = getenv("ESCROW_TEST_ALL"), *seed = getenv("ESCROW_TEST_SEED");
    unsigned steps = all && strcmp(all, "1") == 0 ? STEPS_ALL : STEPS;
    uint64_t chosen = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    struct keeper_fixture *fx = *state;

    random_state = chosen * 2654435761U + 1;
    print_message("# sampled %u of %u steps (seed %llu)\n", steps, STEPS_ALL,
                  (unsigned long long)chosen);
    for (unsigned i = 0; i < steps; i++) {
        random_step(fx);
        if (i % 500 == 0)
            assert_true(fx_ping(fx) < 5000);
    }
    fx_attach_front(fx);
}

/* ---- the frame of every test ---- */

static size_t served_before;

static int set_up(void **state)
{
    struct keeper_fixture *fx = *state;

    fx->on_reply = NULL;
    served_before = served(fx);
    refused = 0;
    fx->on_reply = on_reply;
    return 0;
}

static int tear_down(void **state)
{
    struct keeper_fixture *fx = *state;

    assert_true(refused > 0);
    fx->on_reply = NULL;
    assert_int_equal(served(fx), served_before);
    return 0;
}

static int set_up_all(void **state)
{
    struct keeper_fixture *fx;

    fx_setup_ready(state);
    fx = *state;
    recipient = key_generate();
    stranger = key_generate();
    fx_set_primary(fx, 1);
    hear_release(fx);
    hear_admin(fx);
    keep_back(fx);
    return 0;
}

/* Nothing of it all was for nothing: the signed act itself is good, once, for its own recipient. */
static void test_honest_front(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *own = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(secret_free_p) struct secret *password = NULL;

    fx->on_reply = NULL;
    fx_attach_front(fx);
    fx_set_primary(fx, 0);
    grant = fx_release(fx, FX_AGENT_A, own);
    if (!grant)
        fx_fail("refused", reason_code(fx->reply.reason));
    assert_int_equal(grant->grant.reason, REASON_PROMOTION);
    password = fx_open(grant, own);
    assert_memory_equal(password->bytes, "the second one", password->len);
}

static int tear_down_all(void **state)
{
    for (size_t i = 0; i < HEARD_COUNT; i++)
        free(heard[i].body);
    free(undelivered);
    answer_free(open_challenge);
    EVP_PKEY_free(recipient);
    EVP_PKEY_free(stranger);
    return fx_teardown(state);
}

#define FORGES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FORGES(test_replays),
        FORGES(test_every_member_bent),
        FORGES(test_signatures_that_are_none),
        FORGES(test_fresh_nonce_and_own_recipient),
        FORGES(test_random_sequences),
        cmocka_unit_test(test_honest_front),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
