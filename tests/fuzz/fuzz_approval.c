/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An approval: one that is taken is written again as it was; it holds only after the authority
 * signed it, for that authority, and no longer once group, counter, epoch or what it approves is
 * another. The input: what is changed, document.
 */
#include "libescrow/approval.h"
#include "libescrow/json.h"
#include "tests/fuzz/escrow.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool holds(const struct approval *approval, EVP_PKEY *authority)
{
    struct tpm_digest policy;
    enum escrow_err err;

    memset(&policy, 0xf7, sizeof(policy));
    err = approval_verify(approval, authority, &policy);
    fuzz_check_err(err);
    return err == ESCROW_OK;
}

static void change(struct approval *approval, uint8_t how)
{
    const size_t at = how / 4U;

    switch (how % 4) {
    case 0:
        approval->epoch++;
        break;
    case 1:
        approval->counter.bytes[at % TPM_NAME_BYTES] ^= 1;
        break;
    case 2:
        approval->group[0] = approval->group[0] == 'x' ? 'y' : 'x';
        break;
    default:
        if (approval->kind == TPM_APPROVAL_HOST)
            approval->pcrs.digest.bytes[at % TPM_DIGEST_BYTES] ^= 1;
        else
            approval->act_keys[0].bytes[TPM_NAME_BYTES - 1] ^= 1;
        break;
    }
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    const struct fixture *escrow = fuzz_escrow();
    struct fuzz_source source = {bytes, len};
    const uint8_t how = fuzz_take_byte(&source);
    CLEANUP(json_free_p) json_t *document = fuzz_document(source.bytes, source.len);
    CLEANUP(json_free_p) json_t *again = NULL;
    struct approval approval;

    if (!document || approval_from_json(document, &approval) != ESCROW_OK)
        return;
    for (size_t i = 1; i < approval.act_key_count; i++)
        FUZZ_CHECK(
            memcmp(approval.act_keys[i - 1].bytes, approval.act_keys[i].bytes, TPM_NAME_BYTES) < 0);
    again = approval_to_json(&approval);
    if (fuzz_went_well(again != NULL))
        FUZZ_CHECK(json_equal(again, document));
    FUZZ_CHECK(!holds(&approval, escrow->authority));
    if (!fuzz_went_well(approval_sign(escrow->authority, &approval) == ESCROW_OK))
        return;
    fuzz_went_well(holds(&approval, escrow->authority));
    FUZZ_CHECK(!holds(&approval, escrow->admin));
    change(&approval, how);
    FUZZ_CHECK(!holds(&approval, escrow->authority));
}
