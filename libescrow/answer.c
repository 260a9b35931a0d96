/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/answer.h"

#include "libescrow/act_payload.h"
#include "libescrow/encode.h"
#include "libescrow/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYP "escrow-answer"

static const char *const header_members[] = {"answer", "aud", "nonce", NULL};

/* Indexed by enum answer_kind; the first never matches. */
static const char *const kind_words[] = {
    NULL,
    [ANSWER_CHALLENGE] = "challenge",
    [ANSWER_DURABLE] = "durable",
    [ANSWER_GRANT] = "grant",
    [ANSWER_NOTED] = "noted",
};

const char *answer_kind_word(enum answer_kind kind)
{
    size_t index = (size_t)kind;

    return index > 0 && index < ARRAY_LEN(kind_words) ? kind_words[index] : "unknown";
}

struct answer *answer_new(enum answer_kind kind)
{
    struct answer *answer = calloc(1, sizeof(*answer));

    if (answer)
        answer->kind = kind;
    return answer;
}

void answer_free(struct answer *answer)
{
    free(answer);
}

static bool set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

static json_t *write_object(const struct answer_object *object, bool is_grant)
{
    CLEANUP(json_free_p)
    json_t *item =
        json_pack("{s:o, s:I, s:s, s:o}", "name", json_tpm_name(&object->name), "version",
                  (json_int_t)object->version, "state", secret_state_word(object->state), "public",
                  json_bytes(object->public_area, object->public_len));

    if (!item)
        return NULL;
    if (is_grant && (!set(item, "payload", json_bytes(object->payload, sizeof(object->payload))) ||
                     !act_write_blob(item, &object->blob)))
        return NULL;
    return TAKE(item);
}

static json_t *write_objects(const struct answer *answer)
{
    CLEANUP(json_free_p) json_t *array = json_array();

    for (size_t i = 0; i < answer->object_count && i < ACT_OBJECTS_MAX; i++) {
        json_t *item = write_object(&answer->objects[i], answer->kind == ANSWER_GRANT);

        if (json_array_append_new(array, item) < 0)
            return NULL;
    }
    return TAKE(array);
}

/* The object must be the escrow template, and its Name that of its public area. */
static void read_public(struct json_reader *reader, struct answer_object *object)
{
    struct wrap_object parsed;

    object->public_len =
        json_read_bytes_up_to(reader, "public", object->public_area, sizeof(object->public_area));
    if (wrap_object_parse(object->public_area, object->public_len, &parsed) != ESCROW_OK)
        json_reader_fault(reader, "public");
    else if (!tpm_name_equal(&parsed.name, &object->name))
        json_reader_fault(reader, "name");
}

static void read_objects(struct json_reader *reader, struct answer *answer)
{
    const json_t *array = json_read_array(reader, "objects", ACT_OBJECTS_MAX), *item;
    size_t i;

    json_array_foreach(array, i, item)
    {
        struct answer_object *object = &answer->objects[i];
        struct json_reader inner;

        json_reader_init(&inner, item, "answer: objects[%zu]", i);
        json_read_tpm_name(&inner, "name", &object->name);
        object->version = (uint32_t)json_read_number(&inner, "version", 1, UINT32_MAX);
        object->state = secret_state_from_word(json_borrow_text(&inner, "state", NAME_MAX_BYTES));
        if (!object->state || object->state == SECRET_DESTROYED)
            json_reader_fault(&inner, "state");
        read_public(&inner, object);
        if (answer->kind == ANSWER_GRANT) {
            json_read_bytes(&inner, "payload", object->payload, sizeof(object->payload));
            act_read_blob(&inner, &object->blob);
        }
        if (json_reader_end(&inner) != ESCROW_OK)
            json_reader_fault(reader, "objects");
    }
    answer->object_count = json_array_size(array);
}

static void read_sequence(struct json_reader *reader, struct answer *answer)
{
    answer->sequence = json_read_number(reader, "sequence", 1, INT64_MAX);
}

static bool write_sequence(json_t *payload, const struct answer *answer)
{
    return set(payload, "sequence", json_integer((json_int_t)answer->sequence));
}

static enum reason read_reason(struct json_reader *reader)
{
    const char *code = json_borrow_text(reader, "reason", NAME_MAX_BYTES);
    enum reason reason = reason_from_code(code);

    if (reason == REASON_NONE && strcmp(code, reason_code(REASON_NONE)) != 0)
        json_reader_fault(reader, "reason");
    return reason;
}

/* A challenge for "publish" is about no secret. */
static bool has_subject(const struct answer *answer)
{
    return answer->kind != ANSWER_CHALLENGE || answer->challenge.act != ACT_PUBLISH;
}

/* Only where it is so: an agent of before knows nothing of it, and needs not. */
static bool read_echo(struct json_reader *reader)
{
    if (!json_object_get(reader->object, "echo"))
        return false;
    if (!json_read_bool(reader, "echo"))
        json_reader_fault(reader, "echo");
    return true;
}

static void read_challenge(struct json_reader *reader, struct answer *answer)
{
    answer->challenge.act = act_kind_from_word(json_borrow_text(reader, "act", NAME_MAX_BYTES));
    if (!answer->challenge.act)
        json_reader_fault(reader, "act");
    if (has_subject(answer)) {
        act_read_subject(reader, &answer->subject);
    } else {
        json_read_null(reader, "group");
        json_read_null(reader, "database");
    }
    answer->challenge.expires_in_s =
        (uint32_t)json_read_number(reader, "expires_in", 1, ANSWER_EXPIRES_SECONDS_MAX);
    json_read_tpm_name(reader, "member", &answer->challenge.member);
    answer->challenge.roster_version = json_read_number(reader, "roster", 0, INT64_MAX);
    answer->challenge.next_version =
        (uint32_t)json_read_number(reader, "next_version", 1, UINT32_MAX);
    answer->challenge.wants_echo = read_echo(reader);
    read_objects(reader, answer);
}

static bool write_challenge(json_t *payload, const struct answer *answer)
{
    bool is_about_secret = has_subject(answer);

    return set(payload, "act", json_string(act_kind_word(answer->challenge.act))) &&
           (is_about_secret
                ? act_write_subject(payload, &answer->subject)
                : set(payload, "group", json_null()) && set(payload, "database", json_null())) &&
           set(payload, "expires_in", json_integer(answer->challenge.expires_in_s)) &&
           set(payload, "member", json_tpm_name(&answer->challenge.member)) &&
           set(payload, "roster", json_integer((json_int_t)answer->challenge.roster_version)) &&
           set(payload, "next_version", json_integer(answer->challenge.next_version)) &&
           (!answer->challenge.wants_echo || set(payload, "echo", json_true())) &&
           set(payload, "objects", write_objects(answer));
}

static void read_durable(struct json_reader *reader, struct answer *answer)
{
    read_sequence(reader, answer);
    act_read_subject(reader, &answer->subject);
    answer->durable.version = (uint32_t)json_read_number(reader, "version", 1, UINT32_MAX);
    json_read_tpm_name(reader, "object", &answer->durable.object);
    answer->durable.state =
        secret_state_from_word(json_borrow_text(reader, "state", NAME_MAX_BYTES));
    if (!answer->durable.state)
        json_reader_fault(reader, "state");
}

static bool write_durable(json_t *payload, const struct answer *answer)
{
    return write_sequence(payload, answer) && act_write_subject(payload, &answer->subject) &&
           set(payload, "version", json_integer(answer->durable.version)) &&
           set(payload, "object", json_tpm_name(&answer->durable.object)) &&
           set(payload, "state", json_string(secret_state_word(answer->durable.state)));
}

static void read_grant(struct json_reader *reader, struct answer *answer)
{
    read_sequence(reader, answer);
    act_read_subject(reader, &answer->subject);
    answer->grant.epoch = json_read_number(reader, "epoch", 0, INT64_MAX);
    answer->grant.reason = read_reason(reader);
    json_read_name(reader, "replica", answer->grant.replica, sizeof(answer->grant.replica));
    read_objects(reader, answer);
    if (answer->object_count == 0)
        json_reader_fault(reader, "objects");
}

static bool write_grant(json_t *payload, const struct answer *answer)
{
    return write_sequence(payload, answer) && act_write_subject(payload, &answer->subject) &&
           set(payload, "epoch", json_integer((json_int_t)answer->grant.epoch)) &&
           set(payload, "reason", json_string(reason_code(answer->grant.reason))) &&
           set(payload, "replica", json_string(answer->grant.replica)) &&
           set(payload, "objects", write_objects(answer));
}

static void read_noted(struct json_reader *reader, struct answer *answer)
{
    read_sequence(reader, answer);
    answer->noted.reason = read_reason(reader);
}

static bool write_noted(json_t *payload, const struct answer *answer)
{
    return write_sequence(payload, answer) &&
           set(payload, "reason", json_string(reason_code(answer->noted.reason)));
}

static const struct {
    void (*read)(struct json_reader *reader, struct answer *answer);
    bool (*write)(json_t *payload, const struct answer *answer);
} kinds[] = {
    [ANSWER_CHALLENGE] = {read_challenge, write_challenge},
    [ANSWER_DURABLE] = {read_durable, write_durable},
    [ANSWER_GRANT] = {read_grant, write_grant},
    [ANSWER_NOTED] = {read_noted, write_noted},
};

static enum escrow_err read_payload(const json_t *payload, struct answer *answer)
{
    struct json_reader reader;

    json_reader_init(&reader, payload, "answer: %s", answer_kind_word(answer->kind));
    json_read_v1(&reader);
    kinds[answer->kind].read(&reader, answer);
    return json_reader_end(&reader);
}

/* Nothing is signed that answer_verify would refuse. */
static enum escrow_err check_payload(enum answer_kind kind, const json_t *payload)
{
    CLEANUP(answer_free_p) struct answer *copy = answer_new(kind);

    return copy ? read_payload(payload, copy) : ESCROW_ERR_NO_MEMORY;
}

enum escrow_err answer_sign(const struct answer *answer, const struct jws_signer *signer,
                            char **ret_compact)
{
    CLEANUP(json_free_p)
    json_t *header = json_pack("{s:s, s:s, s:o, s:o}", "typ", TYP, "answer",
                               answer_kind_word(answer->kind), "aud", json_tpm_name(&answer->aud),
                               "nonce", json_bytes(answer->nonce, sizeof(answer->nonce)));
    CLEANUP(json_free_p) json_t *payload = json_pack("{s:i}", "v", 1);
    enum escrow_err err;

    if (!header || !payload || !kinds[answer->kind].write(payload, answer))
        return ESCROW_ERR_NO_MEMORY;
    err = check_payload(answer->kind, payload);
    return err ? err : jws_sign(signer, header, payload, ret_compact);
}

/* jws_verify has seen that all three are texts. */
static enum escrow_err read_header(const json_t *header, struct answer *answer)
{
    const char *word = json_string_value(json_object_get(header, "answer"));
    const char *aud = json_string_value(json_object_get(header, "aud"));
    const char *nonce = json_string_value(json_object_get(header, "nonce"));
    size_t len;

    for (size_t i = 1; i < ARRAY_LEN(kind_words); i++) {
        if (strcmp(word, kind_words[i]) == 0)
            answer->kind = (enum answer_kind)i;
    }
    if (!answer->kind || hex_decode(aud, answer->aud.bytes, TPM_NAME_BYTES) != ESCROW_OK ||
        b64url_decode(nonce, strlen(nonce), answer->nonce, ACT_NONCE_BYTES, &len) != ESCROW_OK ||
        len != ACT_NONCE_BYTES)
        return ESCROW_ERR_MALFORMED;
    return ESCROW_OK;
}

static enum escrow_err check_expected(const struct answer *answer,
                                      const struct answer_expect *expect)
{
    const char *what = NULL;

    if (answer->kind != expect->kind)
        what = "is not of the kind that was asked for";
    else if (!tpm_name_equal(&answer->aud, expect->asker))
        what = "is for somebody else";
    else if (expect->nonce && memcmp(answer->nonce, expect->nonce, ACT_NONCE_BYTES) != 0)
        what = "answers another challenge";
    if (!what)
        return ESCROW_OK;
    log_notice("answer: %s %s", answer_kind_word(answer->kind), what);
    return ESCROW_ERR_DENIED;
}

enum escrow_err answer_verify(const char *compact, size_t len, struct roster *roster,
                              const struct answer_expect *expect, struct answer **ret_answer,
                              const struct roster_member **ret_member)
{
    CLEANUP(answer_free_p) struct answer *answer = answer_new(0);
    CLEANUP(jws_deinit) struct jws jws = {0};
    const struct roster_member *member;
    enum escrow_err err;

    if (!answer)
        return ESCROW_ERR_NO_MEMORY;
    err = jws_verify(compact, len, TYP, header_members, roster_answer_key, roster, &jws);
    if (!err)
        err = read_header(jws.header, answer);
    if (!err)
        err = check_expected(answer, expect);
    if (!err)
        err = read_payload(jws.payload, answer);
    if (err)
        return err;
    answer->kid = jws.kid;
    member = roster_find_answerer(roster, &jws.kid);
    if (answer->kind == ANSWER_CHALLENGE &&
        !tpm_name_equal(&answer->challenge.member, &member->storage)) {
        log_notice("answer: a challenge in the name of another member than '%s'", member->label);
        return ESCROW_ERR_DENIED;
    }
    *ret_member = member;
    *ret_answer = TAKE(answer);
    return ESCROW_OK;
}
