/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer: whatever a member's answer key signs, one that is taken says exactly what was signed,
 * to this asker and this challenge; one of any other key, kind, asker or nonce is never taken. The
 * input: kind, signer, what is expected instead, payload.
 */
#include "libescrow/answer.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "tests/fuzz/escrow.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t nonce[ACT_NONCE_BYTES] = {1, 2, 3};

static enum escrow_err verify(const char *compact, const struct answer_expect *expect,
                              struct answer **ret_answer)
{
    struct answer *answer = FUZZ_UNTOUCHED;
    const struct roster_member *member = FUZZ_UNTOUCHED;
    enum escrow_err err =
        answer_verify(compact, strlen(compact), fuzz_escrow()->roster, expect, &answer, &member);

    fuzz_check_err(err);
    FUZZ_CHECK(err ? answer == FUZZ_UNTOUCHED && member == FUZZ_UNTOUCHED
                   : answer != FUZZ_UNTOUCHED && member != FUZZ_UNTOUCHED);
    if (!err)
        FUZZ_CHECK(tpm_name_equal(&answer->kid, &member->answer));
    *ret_answer = err ? NULL : answer;
    return err;
}

static bool is_never_taken(const char *compact, const struct answer_expect *expect)
{
    CLEANUP(answer_free_p) struct answer *answer = NULL;

    return verify(compact, expect, &answer) != ESCROW_OK;
}

static char *sign(enum answer_kind kind, EVP_PKEY *key, const struct tpm_name *asker,
                  json_t *payload)
{
    CLEANUP(json_free_p) json_t *header = NULL;

    inject_hold(true);
    header =
        json_pack("{s:s, s:s, s:o, s:o}", "typ", "escrow-answer", "answer", answer_kind_word(kind),
                  "aud", json_tpm_name(asker), "nonce", json_bytes(nonce, sizeof(nonce)));
    inject_hold(false);
    return fuzz_sign(key, header, payload);
}

static void check_taken(const struct answer *answer, const json_t *payload, EVP_PKEY *key)
{
    CLEANUP(cleanup_free) char *again = NULL;
    CLEANUP(json_free_p) json_t *payload_again = NULL;
    struct jws_signer signer;

    FUZZ_CHECK(answer->object_count <= ACT_OBJECTS_MAX);
    if (!fuzz_went_well(jws_signer_from_key(key, &signer) == ESCROW_OK) ||
        !fuzz_went_well(answer_sign(answer, &signer, &again) == ESCROW_OK))
        return;
    payload_again = fuzz_payload(again);
    FUZZ_CHECK(json_equal(payload_again, payload));
}

static void check_refused_elsewhere(const struct answer_expect *expect, char *compact,
                                    uint8_t other)
{
    struct answer_expect bent = *expect;
    struct tpm_name asker = *expect->asker;
    uint8_t bent_nonce[ACT_NONCE_BYTES];

    memcpy(bent_nonce, expect->nonce, sizeof(bent_nonce));
    asker.bytes[other % TPM_NAME_BYTES] ^= 1;
    bent_nonce[other % ACT_NONCE_BYTES] ^= 1;
    if (other % 3 == 0)
        bent.kind = bent.kind % ANSWER_NOTED + 1;
    else if (other % 3 == 1)
        bent.asker = &asker;
    else
        bent.nonce = bent_nonce;
    FUZZ_CHECK(is_never_taken(compact, &bent));
    fuzz_alter(compact);
    FUZZ_CHECK(is_never_taken(compact, expect));
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    const struct fixture *escrow = fuzz_escrow();
    EVP_PKEY *const signers[] = {escrow->answer[0], escrow->answer[1], escrow->agent};
    const struct tpm_name asker = fuzz_name(escrow->agent);
    struct fuzz_source source = {bytes, len};
    const struct answer_expect expect = {
        .kind = fuzz_take_byte(&source) % ANSWER_NOTED + 1, .asker = &asker, .nonce = nonce};
    const size_t signer = fuzz_take_byte(&source) % ARRAY_LEN(signers);
    const uint8_t other = fuzz_take_byte(&source);
    CLEANUP(json_free_p) json_t *payload = fuzz_document(source.bytes, source.len);
    CLEANUP(answer_free_p) struct answer *answer = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;

    if (!payload)
        return;
    compact = sign(expect.kind, signers[signer], &asker, payload);
    if (!compact || verify(compact, &expect, &answer) != ESCROW_OK)
        return;
    FUZZ_CHECK(signers[signer] != escrow->agent);
    check_taken(answer, payload, signers[signer]);
    check_refused_elsewhere(&expect, compact, other);
}
