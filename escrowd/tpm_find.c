/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_find.h"

#include "libescrow/log.h"

#include <string.h>

enum escrow_err tpm_list(struct tpm *tpm, TPM2_HANDLE first, struct tpm_handles *ret_handles)
{
    struct tpm_handles handles = {.count = 0};
    TPMI_YES_NO more = TPM2_YES;

    while (more) {
        TPMS_CAPABILITY_DATA data = {0};
        const TPML_HANDLE *page = &data.data.handles;
        enum escrow_err err =
            tpm_result(tpm, "GetCapability",
                       Tss2_Sys_GetCapability(tpm->sys, NULL, TPM2_CAP_HANDLES, first,
                                              TPM2_MAX_CAP_HANDLES, &more, &data, NULL));

        if (err)
            return err;
        if (page->count > ARRAY_LEN(handles.handles) - handles.count ||
            (more && page->count == 0)) {
            log_error("tpm: a list of handles that does not end");
            return ESCROW_ERR_TPM;
        }
        memcpy(handles.handles + handles.count, page->handle, page->count * sizeof(*page->handle));
        handles.count += page->count;
        if (more)
            first = page->handle[page->count - 1] + 1;
    }
    *ret_handles = handles;
    return ESCROW_OK;
}

TPM2_HANDLE tpm_free_handle(const struct tpm_handles *handles, TPM2_HANDLE first)
{
    for (size_t i = 0; i < handles->count; i++) {
        if (handles->handles[i] == first)
            first++;
    }
    return first;
}

static enum escrow_err copy_name(const TPM2B_NAME *name, struct tpm_name *ret_name)
{
    if (name->size != TPM_NAME_BYTES)
        return ESCROW_ERR_NOT_FOUND; /* of another nameAlg: none of ours */
    memcpy(ret_name->bytes, name->name, TPM_NAME_BYTES);
    return ESCROW_OK;
}

enum escrow_err tpm_read_key(struct tpm *tpm, TPM2_HANDLE handle, TPM2B_PUBLIC *ret_public,
                             struct tpm_name *ret_name)
{
    TPM2B_PUBLIC public = {0};
    TPM2B_NAME name = {0}, qualified = {0};
    enum escrow_err err =
        tpm_result(tpm, "ReadPublic",
                   Tss2_Sys_ReadPublic(tpm->sys, handle, NULL, &public, &name, &qualified, NULL));

    if (!err)
        err = copy_name(&name, ret_name);
    if (err)
        return err;
    *ret_public = public;
    return ESCROW_OK;
}

enum escrow_err tpm_read_index(struct tpm *tpm, TPM2_HANDLE handle, TPM2B_NV_PUBLIC *ret_public,
                               struct tpm_name *ret_name)
{
    TPM2B_NV_PUBLIC public = {0};
    TPM2B_NAME name = {0};
    enum escrow_err err = tpm_result(
        tpm, "NV_ReadPublic", Tss2_Sys_NV_ReadPublic(tpm->sys, handle, NULL, &public, &name, NULL));

    if (!err)
        err = copy_name(&name, ret_name);
    if (err)
        return err;
    *ret_public = public;
    return ESCROW_OK;
}

/* Whether the key or index at a handle is the one with this Name. */
static enum escrow_err is_named(struct tpm *tpm, TPM2_HANDLE handle, const struct tpm_name *name)
{
    TPM2B_PUBLIC key;
    TPM2B_NV_PUBLIC index;
    struct tpm_name found;
    enum escrow_err err = handle >> TPM2_HR_SHIFT == TPM2_HT_NV_INDEX
                              ? tpm_read_index(tpm, handle, &index, &found)
                              : tpm_read_key(tpm, handle, &key, &found);

    if (err)
        return err;
    return tpm_name_equal(&found, name) ? ESCROW_OK : ESCROW_ERR_NOT_FOUND;
}

static enum escrow_err find(struct tpm *tpm, TPM2_HANDLE first, const struct tpm_name *name,
                            TPM2_HANDLE *ret_handle)
{
    struct tpm_handles handles;
    enum escrow_err err = tpm_list(tpm, first, &handles);

    if (err)
        return err;
    for (size_t i = 0; i < handles.count; i++) {
        err = is_named(tpm, handles.handles[i], name);
        if (err == ESCROW_OK)
            *ret_handle = handles.handles[i];
        if (err != ESCROW_ERR_NOT_FOUND)
            return err;
    }
    return ESCROW_ERR_NOT_FOUND;
}

enum escrow_err tpm_find_key(struct tpm *tpm, const struct tpm_name *name, TPM2_HANDLE *ret_handle)
{
    return find(tpm, TPM_FIRST_PERSISTENT, name, ret_handle);
}

enum escrow_err tpm_find_index(struct tpm *tpm, const struct tpm_name *name,
                               TPM2_HANDLE *ret_handle)
{
    return find(tpm, TPM_FIRST_INDEX, name, ret_handle);
}
