/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/rpc.h"

#include "libescrow/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHALLENGE_BYTES_MAX 4096
#define WORD_BYTES 16
#define MEMBER_BYTES 16 /* of a quoted name */

char *rpc_challenge_text(const struct rpc_challenge *challenge)
{
    CLEANUP(json_free_p)
    json_t *document = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:o}", "v", 1, "act", act_kind_word(challenge->act), "purpose",
        act_purpose_word(challenge->purpose), "group", challenge->subject.group, "database",
        challenge->subject.database, "key", json_tpm_name(&challenge->key));

    return document ? json_text(document) : NULL;
}

/* Which purposes an act can have; whether they are right for an order or a role comes later. */
static bool is_purpose_of(enum act_kind act, enum act_purpose purpose)
{
    switch (act) {
    case ACT_DEPOSIT:
        return purpose == PURPOSE_DEPOSIT;
    case ACT_PUBLISH:
        return purpose == PURPOSE_PUBLISH;
    case ACT_REBASELINE:
        return purpose == PURPOSE_REBASELINE;
    case ACT_ORDER:
        return purpose == PURPOSE_ROTATE || purpose == PURPOSE_DRILL;
    case ACT_RELEASE:
    case ACT_RECEIPT:
    case ACT_APPROVE:
        return purpose == PURPOSE_PROMOTE || purpose == PURPOSE_ROTATE ||
               purpose == PURPOSE_DRILL || purpose == PURPOSE_RECOVER;
    }
    return false;
}

static bool is_subject_of(enum act_kind act, const struct act_subject *subject)
{
    if (act == ACT_PUBLISH)
        return !subject->group[0] && !subject->database[0];
    return name_is_valid(subject->group) && subject->database[0];
}

enum escrow_err rpc_challenge_parse(const char *text, size_t len,
                                    struct rpc_challenge *ret_challenge)
{
    CLEANUP(json_free_p) json_t *document = NULL;
    struct rpc_challenge challenge = {0};
    char act[WORD_BYTES], purpose[WORD_BYTES];
    struct json_reader reader;
    enum escrow_err err = json_parse(text, len, CHALLENGE_BYTES_MAX, &document);

    if (err)
        return err;
    json_reader_init(&reader, document, "challenge");
    json_read_v1(&reader);
    json_read_text(&reader, "act", act, sizeof(act));
    json_read_text(&reader, "purpose", purpose, sizeof(purpose));
    json_read_text(&reader, "group", challenge.subject.group, sizeof(challenge.subject.group));
    json_read_text(&reader, "database", challenge.subject.database,
                   sizeof(challenge.subject.database));
    json_read_tpm_name(&reader, "key", &challenge.key);
    challenge.act = act_kind_from_word(act);
    challenge.purpose = act_purpose_from_word(purpose);
    if (!is_purpose_of(challenge.act, challenge.purpose))
        json_reader_fault(&reader, "purpose");
    if (!is_subject_of(challenge.act, &challenge.subject))
        json_reader_fault(&reader, "group");
    err = json_reader_end(&reader);
    if (!err)
        *ret_challenge = challenge;
    return err;
}

/* What a compact JWS consists of: in JSON it stands as it is. */
static bool is_compact_byte(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte == '.';
}

static size_t compact_len(const char *text, const char *end)
{
    const char *at = text;

    while (at < end && is_compact_byte(*at))
        at++;
    return (size_t)(at - text);
}

char *rpc_wrap(const char *member, const char *compact)
{
    size_t len = strlen(compact);
    char *text = NULL;

    if (compact_len(compact, compact + len) != len ||
        asprintf(&text, "{\"%s\":\"%s\"}", member, compact) < 0)
        return NULL;
    return text;
}

/* Steps over white space (RFC 8259, 2) and then this text; false if it is not there. */
static bool step_over(const char **at, const char *end, const char *wanted)
{
    size_t len = strlen(wanted);

    while (*at < end && (**at == ' ' || **at == '\t' || **at == '\r' || **at == '\n'))
        (*at)++;
    if ((size_t)(end - *at) < len || memcmp(*at, wanted, len) != 0)
        return false;
    *at += len;
    return true;
}

/*
 * By hand: a roster is a megabyte of one string, and a parser that must look for escapes and UTF-8
 * in it takes longer than everything else that is done with it.
 */
enum escrow_err rpc_unwrap(const char *text, size_t len, const char *member, char **ret_compact)
{
    const char *at = text, *end = text + len;
    char name[MEMBER_BYTES];
    size_t compact;

    snprintf(name, sizeof(name), "\"%s\"", member);
    if (!step_over(&at, end, "{") || !step_over(&at, end, name) || !step_over(&at, end, ":") ||
        !step_over(&at, end, "\""))
        return ESCROW_ERR_MALFORMED;
    text = at;
    compact = compact_len(at, end);
    at += compact;
    if (compact == 0 || compact > JWS_BYTES_MAX || at == end || *at != '"' ||
        !step_over(&at, end, "\"") || !step_over(&at, end, "}") || !step_over(&at, end, "") ||
        at != end)
        return ESCROW_ERR_MALFORMED;
    *ret_compact = strndup(text, compact);
    return *ret_compact ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}
