/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask at all: request_accept and request_has_role of keeper_request.h. */
#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "libescrow/rpc.h"

#include <string.h>

unsigned request_needs(enum act_kind kind)
{
    switch (kind) {
    case ACT_PUBLISH:
        return KEEPER_NEEDS_LOG;
    case ACT_RECEIPT:
    case ACT_ORDER:
    case ACT_APPROVE:
    case ACT_REBASELINE:
        return KEEPER_NEEDS_LOG | KEEPER_NEEDS_ROSTER;
    case ACT_DEPOSIT:
    case ACT_RELEASE:
        break;
    }
    return KEEPER_NEEDS_ALL;
}

static enum reason verify_reason(enum escrow_err err)
{
    switch (err) {
    case ESCROW_OK:
        return REASON_NONE;
    case ESCROW_ERR_NOT_FOUND:
        return REASON_KEY_UNKNOWN;
    case ESCROW_ERR_CRYPTO:
        return REASON_SIGNATURE_INVALID;
    case ESCROW_ERR_MALFORMED:
        return REASON_MALFORMED;
    default:
        return REASON_INTERNAL;
    }
}

/* Who signed, and that the channel is theirs: everything before the identity is proved. */
static enum reason prove(const struct request *request, struct act **ret_act,
                         struct roster **ret_first)
{
    const struct ledger *ledger = request->keeper->ledger;
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    const struct roster_key *key;
    enum reason reason =
        verify_reason(rpc_unwrap(request->body, request->body_len, "act", &compact));

    if (reason)
        return reason;
    reason = verify_reason(ledger_verify_act(ledger, compact, strlen(compact), &act, ret_first));
    if (reason)
        return reason;
    key = roster_find_key(*ret_first ? *ret_first : ledger_roster(ledger), &act->kid);
    if (!key)
        return REASON_KEY_UNKNOWN;
    if (strcmp(key->identity, request->identity) != 0)
        return REASON_IDENTITY_MISMATCH;
    *ret_act = TAKE(act);
    return REASON_NONE;
}

/* What a proved identity may. */
static enum reason permit(const struct request *request, const struct roster_key *key,
                          enum act_kind kind, enum roster_role role)
{
    struct keeper *keeper = request->keeper;
    const struct act *act = request->act;
    const struct nonce_binding binding = {.identity = request->identity,
                                          .act = kind,
                                          .purpose = act->purpose,
                                          .subject = act->subject};

    if (act->kind != kind)
        return REASON_ACT_MISMATCH;
    if (!tpm_name_equal(&act->aud, &keeper->member->names.storage))
        return REASON_AUDIENCE_MISMATCH;
    if (nonces_take(keeper->nonces, act->nonce, &binding, clock_boot_ms()))
        return REASON_NONCE_INVALID;
    if (key->role != role)
        return REASON_ROLE_NOT_ALLOWED;
    if (kind != ACT_PUBLISH && !roster_key_covers(key, act->subject.group))
        return REASON_ROLE_NOT_ALLOWED;
    return REASON_NONE;
}

bool request_accept(struct request *request, enum act_kind kind, enum roster_role role)
{
    const struct ledger *ledger = request->keeper->ledger;
    CLEANUP(roster_free_p) struct roster *first = NULL;
    enum reason reason = keeper_lacks(request->keeper, request_needs(kind));

    if (reason) {
        request_fail(request, reason);
        return false;
    }
    reason = prove(request, &request->act, &first);
    if (!reason) {
        request->kid = request->act->kid;
        reason =
            permit(request, roster_find_key(first ? first : ledger_roster(ledger), &request->kid),
                   kind, role);
    }
    if (reason)
        request_refuse(request, reason);
    return !reason;
}

enum reason request_recheck(const struct request *request, enum roster_role role)
{
    const struct roster *roster = ledger_roster(request->keeper->ledger);
    const struct roster_key *key = roster ? roster_find_key(roster, &request->kid) : NULL;

    if (!key || strcmp(key->identity, request->identity) != 0)
        return REASON_KEY_UNKNOWN;
    if (key->role != role || !roster_key_covers(key, request->act->subject.group))
        return REASON_ROLE_NOT_ALLOWED;
    return REASON_NONE;
}

bool request_has_role(struct request *request, unsigned roles)
{
    const struct roster *roster = ledger_roster(request->keeper->ledger);
    const struct roster_key *const *keys;
    size_t count = roster ? roster_identity_keys(roster, request->identity, &keys) : 0;

    for (size_t i = 0; i < count; i++) {
        if (roles == 0 || roles & REQUEST_ROLE(keys[i]->role))
            return true;
    }
    if (!roster)
        request_fail(request, REASON_NO_ROSTER);
    else
        request_refuse(request, count > 0 ? REASON_ROLE_NOT_ALLOWED : REASON_IDENTITY_UNKNOWN);
    return false;
}
