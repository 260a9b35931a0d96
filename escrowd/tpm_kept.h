/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_command.h"

/*
 * Objects that were loaded once, as the TPM saved them (TPM2_ContextSave): the next release loads
 * one with a single command and no authorization, where TPM2_Load asks for the storage key's
 * policy. A saved context is encrypted by the TPM for itself, opens nothing that the object's own
 * policy does not allow, and is void after a reset of the TPM. Kept in memory only.
 *
 * An object has one of eight places among TPM_KEPT_MAX, by its Name, which is a hash: it is found
 * at once. Where all eight are taken the one that was saved first leaves its place, and costs one
 * TPM2_Load more the next time. Up to TPM_PREPARED_MAX objects (tpm_jobs.h) that is rare.
 */

/* A TPMS_CONTEXT, without the room that a larger one would need. */
struct tpm_kept {
    struct tpm_name name;
    UINT64 sequence;
    TPMI_DH_SAVED saved_handle;
    TPMI_RH_HIERARCHY hierarchy;
    UINT16 len;
    BYTE bytes[];
};

/*
 * Loads the object of this Name. ESCROW_ERR_NOT_FOUND if it is not kept, or the TPM does not take
 * it any more; otherwise as tpm_result.
 */
MUST_CHECK enum escrow_err tpm_kept_load(struct tpm *tpm, const struct tpm_name *name,
                                         struct tpm_object *object);

/* Whether an object is kept. The TPM is not asked. */
bool tpm_kept_has(struct tpm *tpm, const struct tpm_name *name);

/* Keeps a loaded object, in place of what has its place. Failing costs only the next load. */
void tpm_kept_save(struct tpm *tpm, const struct tpm_name *name, const struct tpm_object *object);

/* Forgets all: a TPM that was gone may have been reset. */
void tpm_kept_forget(struct tpm *tpm);
