/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"
#include "escrowd/tpm_release.h"
#include "libescrow/act.h"

/*
 * Secrets, their versions, and the blobs of each version for every member and the recovery key.
 * What a version is never changes; only its state does, and the TPM's private area comes later.
 */

struct store_version {
    struct tpm_name object;
    uint32_t version;
    enum secret_state state;
    uint8_t public_area[WRAP_PUBLIC_MAX];
    size_t public_len;
    uint8_t payload[PAYLOAD_CIPHERTEXT_BYTES];
    struct tpm_private private_area; /* len 0: not imported into this TPM yet */
};

/*
 * Adds a version with its blobs; one that is SECRET_ACTIVE retires the active one before it.
 * ESCROW_ERR_STORE also if the version or the object is there already.
 */
MUST_CHECK enum escrow_err store_add_version(struct store *store, const struct act_subject *subject,
                                             const struct tpm_name *object,
                                             const struct act_deposit *deposit,
                                             const struct audit_record *record);

/* One more than the highest version, 1 for a secret that is not known. */
MUST_CHECK enum escrow_err
store_next_version(struct store *store, const struct act_subject *subject, uint32_t *ret_version);

/* Whether this object is a version already, of whatever secret. */
MUST_CHECK enum escrow_err store_has_object(struct store *store, const struct tpm_name *object,
                                            bool *ret_has);

/* The live versions: active, pending, retired newest first; at most cap. None: *ret_count is 0. */
MUST_CHECK enum escrow_err store_live_versions(struct store *store,
                                               const struct act_subject *subject,
                                               struct store_version *ret_versions, size_t cap,
                                               size_t *ret_count);

/* The blob of an object for one recipient; ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err store_blob(struct store *store, const struct tpm_name *object,
                                      const struct tpm_name *recipient, struct wrap_blob *ret_blob);

/* What this member's TPM made of the blob: outside of the fold, for the log cannot hold it. */
MUST_CHECK enum escrow_err store_set_private(struct store *store, const struct tpm_name *object,
                                             const struct tpm_private *private_area);
/* A version that was not imported yet; ESCROW_ERR_NOT_FOUND if there is none (any more). */
MUST_CHECK enum escrow_err store_next_unimported(struct store *store,
                                                 struct store_version *ret_version);
/* How many versions there are, and how many of them this TPM has not imported. */
MUST_CHECK enum escrow_err store_count_versions(struct store *store, uint64_t *ret_versions,
                                                uint64_t *ret_unimported);

/* A version as the list of secrets shows it; texts are borrowed. */
struct store_listed {
    const char *group;
    const char *database;
    uint32_t version;
    enum secret_state state;
    struct tpm_name object;
    uint64_t sequence;
    int64_t time_ms;
    bool is_imported;
};
typedef enum escrow_err (*store_listed_fn)(const struct store_listed *listed, void *argument);
/* All versions by group, database, version. What on_version returns but ESCROW_OK ends it. */
MUST_CHECK enum escrow_err store_list_versions(struct store *store, store_listed_fn on_version,
                                               void *argument);
