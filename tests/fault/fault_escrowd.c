/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/fault_escrowd.h"

#include "libescrow/answer.h"
#include "libescrow/json.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VERSION 1
#define EPOCH 2

static const uint8_t nonce[ACT_NONCE_BYTES] = {4, 5, 6};

void fault_escrowd_deposit(struct fault_worker *world)
{
    static const uint8_t policy[32] = {1};
    CLEANUP(secret_free_p) struct secret *data_key = secret_random(PAYLOAD_DATA_KEY_BYTES);
    CLEANUP(secret_free_p) struct secret *password = secret_new(sizeof(FAULT_PASSWORD) - 1);
    struct payload_binding binding = {
        .group = FIXTURE_GROUP, .database = "SSISDB", .version = VERSION};

    memcpy(password->bytes, FAULT_PASSWORD, password->len);
    assert_int_equal(wrap_object_new(policy, data_key, &world->object, &world->sensitive),
                     ESCROW_OK);
    binding.object = world->object.name;
    assert_int_equal(payload_seal(&binding, data_key, password, world->payload), ESCROW_OK);
}

static char *signed_answer(const struct fault_worker *world, const struct answer *answer)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    struct jws_signer signer;

    if (jws_signer_from_key(world->fixture->answer[0], &signer) ||
        answer_sign(answer, &signer, &compact) ||
        asprintf(&body, "{\"answer\":\"%s\"}", compact) < 0)
        return NULL;
    return https_answer(200, "", body);
}

static struct answer *new_answer(const struct fault_worker *world, enum answer_kind kind)
{
    struct answer *answer = answer_new(kind);

    answer->aud = fixture_name(world->fixture->agent);
    memcpy(answer->nonce, nonce, sizeof(nonce));
    if (kind != ANSWER_NOTED) {
        snprintf(answer->subject.group, sizeof(answer->subject.group), FIXTURE_GROUP);
        snprintf(answer->subject.database, sizeof(answer->subject.database), "SSISDB");
    }
    return answer;
}

static void fill_object(const struct fault_worker *world, struct answer *answer)
{
    struct answer_object *object = &answer->objects[0];

    answer->object_count = 1;
    object->name = world->object.name;
    object->version = VERSION;
    object->state = SECRET_ACTIVE;
    assert_int_equal(wrap_object_marshal(&world->object, object->public_area, &object->public_len),
                     ESCROW_OK);
}

static char *on_challenge(const struct fault_worker *world, const char *body)
{
    CLEANUP(answer_free_p) struct answer *answer = new_answer(world, ANSWER_CHALLENGE);
    CLEANUP(json_free_p) json_t *asked = json_loads(body, 0, NULL);
    const struct roster_member *members;

    roster_members(world->fixture->roster, &members);
    answer->challenge.act = act_kind_from_word(json_string_value(json_object_get(asked, "act")));
    answer->challenge.expires_in_s = 30;
    answer->challenge.member = members[0].storage;
    answer->challenge.roster_version = roster_version(world->fixture->roster);
    answer->challenge.next_version = VERSION + 1;
    answer->challenge.wants_echo = answer->challenge.act == ACT_RELEASE && world->heard->wants_echo;
    fill_object(world, answer);
    return signed_answer(world, answer);
}

static char *on_release(const struct fault_worker *world, const struct act *act)
{
    CLEANUP(answer_free_p) struct answer *answer = new_answer(world, ANSWER_GRANT);

    answer->sequence = 6;
    answer->grant.epoch = EPOCH;
    answer->grant.reason = REASON_PROMOTION;
    snprintf(answer->grant.replica, sizeof(answer->grant.replica), FIXTURE_INSTANCE);
    fill_object(world, answer);
    memcpy(answer->objects[0].payload, world->payload, sizeof(world->payload));
    if (wrap_seal(&world->object, world->sensitive, &act->release.recipient,
                  &answer->objects[0].blob))
        return NULL;
    return signed_answer(world, answer);
}

static char *on_receipt(const struct fault_worker *world, const struct act *act)
{
    CLEANUP(answer_free_p) struct answer *answer = new_answer(world, ANSWER_NOTED);

    answer->sequence = 7;
    if (act->receipt.outcome == OUTCOME_OPENED)
        world->heard->opened++;
    else
        world->heard->failed++;
    return signed_answer(world, answer);
}

static char *on_act(const struct fault_worker *world, const char *body)
{
    CLEANUP(json_free_p) json_t *document = json_loads(body, 0, NULL);
    CLEANUP(act_free_p) struct act *act = NULL;
    const char *compact = json_string_value(json_object_get(document, "act"));

    if (!compact || act_verify(compact, strlen(compact), world->fixture->roster, &act))
        return https_answer(400, "", "{\"code\":\"malformed\"}");
    return act->kind == ACT_RELEASE ? on_release(world, act) : on_receipt(world, act);
}

static char *show_roster(const struct fault_worker *world)
{
    CLEANUP(cleanup_free) char *body = NULL;

    if (asprintf(&body, "{\"roster\":\"%s\"}", roster_compact(world->fixture->roster)) < 0)
        return NULL;
    return https_answer(200, "", body);
}

char *fault_escrowd_answer(const char *method, const char *path, const char *body, void *argument)
{
    const struct fault_worker *world = argument;
    struct fault_heard *heard = world->heard;
    bool is_cut = ++heard->requests == heard->cut_at;
    char *answer;

    if (strcmp(method, "POST") == 0 && strstr(body, FAULT_PASSWORD))
        heard->has_password = true;
    if (is_cut && !heard->is_cut_late)
        return NULL;
    if (heard->requests == heard->hang_at)
        poll(NULL, 0, FAULT_WORKER_DEADLINE_MS);
    if (strcmp(path, "/v1/roster") == 0)
        answer = show_roster(world);
    else if (strcmp(path, "/v1/challenge") == 0)
        answer = on_challenge(world, body);
    else
        answer = on_act(world, body);
    if (is_cut) {
        free(answer);
        return NULL;
    }
    return answer;
}
