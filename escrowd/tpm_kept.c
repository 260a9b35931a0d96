/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_kept.h"

#include <stdlib.h>

static struct tpm_kept **find(struct tpm *tpm, const struct tpm_name *name)
{
    for (size_t i = 0; i < TPM_KEPT_MAX; i++) {
        if (tpm->kept[i] && tpm_name_equal(&tpm->kept[i]->name, name))
            return &tpm->kept[i];
    }
    return NULL;
}

static void forget(struct tpm_kept **kept)
{
    free(*kept);
    *kept = NULL;
}

enum escrow_err tpm_kept_load(struct tpm *tpm, const struct tpm_name *name,
                              struct tpm_object *object)
{
    struct tpm_kept **kept = find(tpm, name);
    enum escrow_err err;

    if (!kept)
        return ESCROW_ERR_NOT_FOUND;
    err = tpm_result(tpm, "ContextLoad",
                     Tss2_Sys_ContextLoad(tpm->sys, &(*kept)->context, &object->handle));
    if (!err)
        return ESCROW_OK;
    object->handle = 0;
    forget(kept);
    return err == ESCROW_ERR_UNAVAILABLE ? err : ESCROW_ERR_NOT_FOUND;
}

void tpm_kept_save(struct tpm *tpm, const struct tpm_name *name, const struct tpm_object *object)
{
    struct tpm_kept *kept = calloc(1, sizeof(*kept));

    if (!kept)
        return;
    kept->name = *name;
    if (tpm_result(tpm, "ContextSave",
                   Tss2_Sys_ContextSave(tpm->sys, object->handle, &kept->context)) != ESCROW_OK) {
        free(kept);
        return;
    }
    forget(&tpm->kept[tpm->kept_next]);
    tpm->kept[tpm->kept_next] = kept;
    tpm->kept_next = (tpm->kept_next + 1) % TPM_KEPT_MAX;
}

void tpm_kept_forget(struct tpm *tpm)
{
    for (size_t i = 0; i < TPM_KEPT_MAX; i++)
        forget(&tpm->kept[i]);
}
