/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/challenge: a nonce, and what an act has to name. Proves nothing yet, records nothing. */
#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/store_secrets.h"
#include "libescrow/rpc.h"

#include <stdlib.h>
#include <string.h>

/* Before the first roster there is only one thing to do: publish one. */
static enum reason check_key(const struct request *request, const struct rpc_challenge *challenge)
{
    const struct roster *roster = ledger_roster(request->keeper->ledger);
    const struct roster_key *key = roster ? roster_find_key(roster, &challenge->key) : NULL;

    if (!roster)
        return challenge->act == ACT_PUBLISH ? REASON_NONE : REASON_NO_ROSTER;
    if (!key)
        return REASON_KEY_UNKNOWN;
    if (strcmp(key->identity, request->identity) != 0)
        return REASON_IDENTITY_MISMATCH;
    if (challenge->act != ACT_PUBLISH && !roster_key_covers(key, challenge->subject.group))
        return REASON_ROLE_NOT_ALLOWED;
    return REASON_NONE;
}

static enum reason check_subject(const struct keeper *keeper, const struct rpc_challenge *challenge)
{
    struct target target;

    return challenge->act == ACT_PUBLISH
               ? REASON_NONE
               : target_find(keeper->policy, &challenge->subject, &target);
}

static enum reason issue(const struct request *request, const struct rpc_challenge *challenge,
                         struct answer *answer)
{
    const struct nonce_binding binding = {.identity = request->identity,
                                          .act = challenge->act,
                                          .purpose = challenge->purpose,
                                          .subject = challenge->subject};
    enum escrow_err err =
        nonces_issue(request->keeper->nonces, &binding, clock_boot_ms(), answer->nonce);

    return err ? REASON_OVERLOADED : REASON_NONE;
}

/* What may be deposited next, and what is there to be released. */
static enum escrow_err describe_secret(const struct keeper *keeper,
                                       const struct rpc_challenge *challenge, struct answer *answer)
{
    CLEANUP(cleanup_free)
    struct store_version *versions = calloc(ACT_OBJECTS_MAX, sizeof(*versions));
    enum escrow_err err;

    if (!versions)
        return ESCROW_ERR_NO_MEMORY;
    err = store_next_version(keeper->store, &challenge->subject, &answer->challenge.next_version);
    if (!err)
        err = store_live_versions(keeper->store, &challenge->subject, versions, ACT_OBJECTS_MAX,
                                  &answer->object_count);
    for (size_t i = 0; !err && i < answer->object_count; i++) {
        struct answer_object *object = &answer->objects[i];

        object->name = versions[i].object;
        object->version = versions[i].version;
        object->state = versions[i].state;
        object->public_len = versions[i].public_len;
        memcpy(object->public_area, versions[i].public_area, versions[i].public_len);
    }
    return err;
}

/* Whether who asks for a release is to commit the nonce before. */
static bool wants_echo(const struct keeper *keeper, const struct rpc_challenge *challenge)
{
    struct target target;

    return challenge->act == ACT_RELEASE &&
           target_find(keeper->policy, &challenge->subject, &target) == REASON_NONE &&
           target.group->wants_echo;
}

void challenge_start(struct request *request)
{
    struct keeper *keeper = request->keeper;
    const struct roster *roster = ledger_roster(keeper->ledger);
    CLEANUP(answer_free_p) struct answer *answer = answer_new(ANSWER_CHALLENGE);
    struct rpc_challenge challenge;
    enum reason reason;

    if (!answer) {
        request_fail(request, REASON_INTERNAL);
        return;
    }
    if (rpc_challenge_parse(request->body, request->body_len, &challenge)) {
        request_refuse(request, REASON_MALFORMED);
        return;
    }
    reason = check_key(request, &challenge);
    if (!reason)
        reason = check_subject(keeper, &challenge);
    if (reason) {
        request_refuse(request, reason);
        return;
    }
    /* Nobody should sign what could not be served. */
    reason = keeper_lacks(keeper, request_needs(challenge.act));
    if (reason) {
        request_fail(request, reason);
        return;
    }
    answer->subject = challenge.subject;
    answer->challenge.act = challenge.act;
    answer->challenge.expires_in_s = NONCE_TTL_MS / 1000;
    answer->challenge.member = keeper->member->names.storage;
    answer->challenge.roster_version = roster ? roster_version(roster) : 0;
    answer->challenge.next_version = 1;
    answer->challenge.wants_echo = wants_echo(keeper, &challenge);
    if (challenge.act != ACT_PUBLISH && describe_secret(keeper, &challenge, answer)) {
        request_fail(request, REASON_STORE_UNAVAILABLE);
        return;
    }
    reason = issue(request, &challenge, answer);
    if (reason) {
        request_fail(request, reason);
        return;
    }
    request->kid = challenge.key;
    request_sign(request, answer);
}
