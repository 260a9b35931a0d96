/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/act.h"

#include "libescrow/act_payload.h"
#include "libescrow/encode.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>

#define TYP "escrow-act"

static const char *const header_members[] = {"act", "aud", "nonce", NULL};

struct act *act_new(enum act_kind kind)
{
    struct act *act = calloc(1, sizeof(*act));

    if (act)
        act->kind = kind;
    return act;
}

void act_free(struct act *act)
{
    if (!act)
        return;
    if (act->kind == ACT_PUBLISH) {
        free(act->publish.roster);
        free(act->publish.approvals);
    }
    free(act->compact);
    free(act);
}

static json_t *write_header(const struct act *act)
{
    return json_pack("{s:s, s:s, s:o, s:o}", "typ", TYP, "act", act_kind_word(act->kind), "aud",
                     json_tpm_name(&act->aud), "nonce", json_bytes(act->nonce, sizeof(act->nonce)));
}

/* typ, alg and kid have been checked by jws_verify; the others are texts. */
static enum escrow_err read_header(const json_t *header, enum act_kind *ret_kind,
                                   struct tpm_name *ret_aud,
                                   uint8_t ret_nonce[static ACT_NONCE_BYTES])
{
    const char *aud = json_string_value(json_object_get(header, "aud"));
    const char *nonce = json_string_value(json_object_get(header, "nonce"));
    enum act_kind kind = act_kind_from_word(json_string_value(json_object_get(header, "act")));
    size_t len;

    if (!kind || hex_decode(aud, ret_aud->bytes, TPM_NAME_BYTES) != ESCROW_OK ||
        b64url_decode(nonce, strlen(nonce), ret_nonce, ACT_NONCE_BYTES, &len) != ESCROW_OK ||
        len != ACT_NONCE_BYTES) {
        log_notice("act: a member of the header does not have its form");
        return ESCROW_ERR_MALFORMED;
    }
    *ret_kind = kind;
    return ESCROW_OK;
}

/* Nothing is signed that act_verify would refuse. */
static enum escrow_err check_payload(enum act_kind kind, const json_t *payload)
{
    CLEANUP(act_free_p) struct act *copy = act_new(kind);

    return copy ? act_payload_read(payload, copy) : ESCROW_ERR_NO_MEMORY;
}

enum escrow_err act_sign(const struct act *act, EVP_PKEY *act_key, char **ret_compact)
{
    CLEANUP(json_free_p) json_t *header = write_header(act);
    CLEANUP(json_free_p) json_t *payload = act_payload_write(act);
    struct jws_signer signer;
    enum escrow_err err;

    if (!header || !payload)
        return ESCROW_ERR_NO_MEMORY;
    err = check_payload(act->kind, payload);
    if (!err)
        err = jws_signer_from_key(act_key, &signer);
    return err ? err : jws_sign(&signer, header, payload, ret_compact);
}

enum escrow_err act_verify(const char *compact, size_t len, struct roster *roster,
                           struct act **ret_act)
{
    CLEANUP(act_free_p) struct act *act = act_new(0);
    CLEANUP(jws_deinit) struct jws jws = {0};
    enum escrow_err err;

    if (!act)
        return ESCROW_ERR_NO_MEMORY;
    err = jws_verify(compact, len, TYP, header_members, roster_act_key, roster, &jws);
    if (!err)
        err = read_header(jws.header, &act->kind, &act->aud, act->nonce);
    if (!err)
        err = act_payload_read(jws.payload, act);
    if (err)
        return err;
    act->kid = jws.kid;
    act->compact = strndup(compact, len);
    act->compact_len = len;
    if (!act->compact)
        return ESCROW_ERR_NO_MEMORY;
    *ret_act = TAKE(act);
    return ESCROW_OK;
}

enum escrow_err act_verify_first(const char *compact, size_t len, EVP_PKEY *authority,
                                 struct act **ret_act, struct roster **ret_roster)
{
    CLEANUP(json_free_p) json_t *payload = NULL;
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    const char *text;
    enum escrow_err err = jws_unverified_payload(compact, len, &payload);

    if (err)
        return err;
    text = json_string_value(json_object_get(payload, "roster"));
    if (!text)
        return ESCROW_ERR_MALFORMED;
    err = roster_parse(text, strlen(text), authority, &roster);
    if (!err)
        err = act_verify(compact, len, roster, &act);
    if (err)
        return err;
    *ret_act = TAKE(act);
    *ret_roster = TAKE(roster);
    return ESCROW_OK;
}
