/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_kept.h"

#include <stdlib.h>
#include <string.h>

#define PLACES 8 /* of one Name */

/* What a newcomer takes rather: a free place, then the one of the object that was saved first. */
static bool is_better(const struct tpm_kept *place, const struct tpm_kept *other)
{
    return other && (!place || place->sequence < other->sequence);
}

/* Where it is kept, or would be. */
static struct tpm_kept **place(struct tpm *tpm, const struct tpm_name *name)
{
    size_t number = (size_t)name->bytes[TPM_NAME_BYTES - 2] << 8 | name->bytes[TPM_NAME_BYTES - 1];
    struct tpm_kept **best = &tpm->kept[number % TPM_KEPT_MAX];

    for (size_t i = 0; i < PLACES; i++) {
        struct tpm_kept **kept = &tpm->kept[(number + i) % TPM_KEPT_MAX];

        if (*kept && tpm_name_equal(&(*kept)->name, name))
            return kept;
        if (is_better(*kept, *best))
            best = kept;
    }
    return best;
}

static void forget(struct tpm_kept **kept)
{
    free(*kept);
    *kept = NULL;
}

static void unpack(const struct tpm_kept *kept, TPMS_CONTEXT *ret_context)
{
    *ret_context = (TPMS_CONTEXT){.sequence = kept->sequence,
                                  .savedHandle = kept->saved_handle,
                                  .hierarchy = kept->hierarchy,
                                  .contextBlob.size = kept->len};
    memcpy(ret_context->contextBlob.buffer, kept->bytes, kept->len);
}

/* NULL without memory. */
static struct tpm_kept *pack(const struct tpm_name *name, const TPMS_CONTEXT *context)
{
    const TPM2B_CONTEXT_DATA *blob = &context->contextBlob;
    struct tpm_kept *kept = malloc(sizeof(*kept) + blob->size);

    if (!kept)
        return NULL;
    *kept = (struct tpm_kept){.name = *name,
                              .sequence = context->sequence,
                              .saved_handle = context->savedHandle,
                              .hierarchy = context->hierarchy,
                              .len = blob->size};
    memcpy(kept->bytes, blob->buffer, blob->size);
    return kept;
}

bool tpm_kept_has(struct tpm *tpm, const struct tpm_name *name)
{
    const struct tpm_kept *kept = *place(tpm, name);

    return kept && tpm_name_equal(&kept->name, name);
}

enum escrow_err tpm_kept_load(struct tpm *tpm, const struct tpm_name *name,
                              struct tpm_object *object)
{
    struct tpm_kept **kept = place(tpm, name);
    TPMS_CONTEXT context;
    enum escrow_err err;

    if (!tpm_kept_has(tpm, name))
        return ESCROW_ERR_NOT_FOUND;
    unpack(*kept, &context);
    err = tpm_result(tpm, "ContextLoad", Tss2_Sys_ContextLoad(tpm->sys, &context, &object->handle));
    if (!err)
        return ESCROW_OK;
    object->handle = 0;
    forget(kept);
    return err == ESCROW_ERR_UNAVAILABLE ? err : ESCROW_ERR_NOT_FOUND;
}

void tpm_kept_save(struct tpm *tpm, const struct tpm_name *name, const struct tpm_object *object)
{
    struct tpm_kept **kept = place(tpm, name);
    TPMS_CONTEXT context = {0};

    if (tpm_result(tpm, "ContextSave", Tss2_Sys_ContextSave(tpm->sys, object->handle, &context)) !=
        ESCROW_OK)
        return;
    forget(kept);
    *kept = pack(name, &context);
}

void tpm_kept_forget(struct tpm *tpm)
{
    for (size_t i = 0; i < TPM_KEPT_MAX; i++)
        forget(&tpm->kept[i]);
}
