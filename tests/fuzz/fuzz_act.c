/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An act: whatever payload a key of the roster signs, one that is taken says exactly what was
 * signed and can be signed again; nothing counts whose signer is not in the roster or of which a
 * byte was altered. The input: kind, signer, payload.
 */
#include "libescrow/act_payload.h"
#include "libescrow/json.h"
#include "tests/fuzz/escrow.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define NONCE "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

static enum escrow_err verify(const char *compact, size_t len, struct act **ret_act)
{
    struct act *act = FUZZ_UNTOUCHED;
    enum escrow_err err = act_verify(compact, len, fuzz_escrow()->roster, &act);

    fuzz_check_err(err);
    FUZZ_CHECK(err || act != FUZZ_UNTOUCHED);
    FUZZ_CHECK(!err || act == FUZZ_UNTOUCHED);
    *ret_act = err ? NULL : act;
    return err;
}

static bool is_never_taken(const char *compact, size_t len)
{
    CLEANUP(act_free_p) struct act *act = NULL;

    return verify(compact, len, &act) != ESCROW_OK;
}

/* The act says what was signed, and what it says can be signed again. */
static void check_taken(const struct act *act, const char *compact, const json_t *payload,
                        EVP_PKEY *key)
{
    CLEANUP(json_free_p) json_t *again = act_payload_write(act);
    CLEANUP(cleanup_free) char *signed_again = NULL;
    CLEANUP(act_free_p) struct act *second = NULL;
    struct tpm_name signer = fuzz_name(key);

    FUZZ_CHECK(tpm_name_equal(&act->kid, &signer));
    FUZZ_CHECK(act->compact_len == strlen(compact) &&
               memcmp(act->compact, compact, act->compact_len) == 0);
    if (fuzz_went_well(again != NULL))
        FUZZ_CHECK(json_equal(again, payload));
    if (fuzz_went_well(act_sign(act, key, &signed_again) == ESCROW_OK) &&
        fuzz_went_well(verify(signed_again, strlen(signed_again), &second) == ESCROW_OK))
        FUZZ_CHECK(second->kind == act->kind && second->purpose == act->purpose &&
                   tpm_name_equal(&second->aud, &act->aud) &&
                   memcmp(second->nonce, act->nonce, ACT_NONCE_BYTES) == 0);
}

static void check_signed(enum act_kind kind, EVP_PKEY *key, bool is_in_roster, json_t *payload)
{
    CLEANUP(json_free_p) json_t *header = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    enum escrow_err err;

    inject_hold(true);
    header = json_pack(
        "{s:s, s:s, s:s, s:s}", "typ", "escrow-act", "act", act_kind_word(kind), "aud",
        "000b1111111111111111111111111111111111111111111111111111111111111111", "nonce", NONCE);
    inject_hold(false);
    compact = fuzz_sign(key, header, payload);
    if (!compact)
        return;
    err = verify(compact, strlen(compact), &act);
    FUZZ_CHECK(err != ESCROW_ERR_CRYPTO || inject_failures() > 0);
    FUZZ_CHECK(err || is_in_roster);
    FUZZ_CHECK(is_in_roster || err == ESCROW_ERR_NOT_FOUND || inject_failures() > 0);
    if (err)
        return;
    FUZZ_CHECK(act->kind == kind);
    check_taken(act, compact, payload, key);
    fuzz_alter(compact);
    FUZZ_CHECK(is_never_taken(compact, strlen(compact)));
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    const struct fixture *escrow = fuzz_escrow();
    EVP_PKEY *const signers[] = {escrow->agent,     escrow->admin,     escrow->auditor,
                                 escrow->authority, escrow->answer[0], escrow->recovery};
    struct fuzz_source source = {bytes, len};
    const enum act_kind kind = (enum act_kind)(fuzz_take_byte(&source) % ACT_REBASELINE + 1);
    const size_t signer = fuzz_take_byte(&source) % ARRAY_LEN(signers);
    json_t *payload = fuzz_document(source.bytes, source.len);

    FUZZ_CHECK(is_never_taken((const char *)bytes, len));
    if (payload)
        check_signed(kind, signers[signer], signer < 3, payload);
    json_decref(payload);
}
