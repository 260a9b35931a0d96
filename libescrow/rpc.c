/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/rpc.h"

#include "libescrow/json.h"

#include <string.h>

#define CHALLENGE_BYTES_MAX 4096
#define WORD_BYTES 16

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

char *rpc_wrap(const char *member, const char *compact)
{
    CLEANUP(json_free_p) json_t *document = json_pack("{s:s}", member, compact);

    return document ? json_text(document) : NULL;
}

enum escrow_err rpc_unwrap(const char *text, size_t len, const char *member, char **ret_compact)
{
    CLEANUP(json_free_p) json_t *document = NULL;
    struct json_reader reader;
    const char *compact;
    enum escrow_err err = json_parse(text, len, JWS_BYTES_MAX + 64, &document);

    if (err)
        return err;
    json_reader_init(&reader, document, "body");
    compact = json_borrow_text(&reader, member, JWS_BYTES_MAX);
    err = json_reader_end(&reader);
    if (err)
        return err;
    *ret_compact = strdup(compact);
    return *ret_compact ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}
