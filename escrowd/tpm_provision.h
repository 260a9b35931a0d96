/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_context.h"
#include "libescrow/secret.h"
#include "libescrow/tpm_recovery.h"

/*
 * What `escrowd init` does to a TPM, once in its life: storage key, audit key, epoch counter,
 * random owner and lockout auth, TPM2_Clear disabled. It never overwrites or removes anything, and
 * changes a TPM only after the caller has the auth values on disk:
 *
 *   tpm_provision_check     nothing of an escrowd is there
 *   tpm_auths_new           three random values
 *   tpm_recovery_seal       owner and lockout auth, wrapped to the recovery key; the caller writes
 *                           them, and the storage auth (mode 0600), and only then calls
 *   tpm_provision
 *
 * The auth values cross the bus to the TPM in clear. A salted session would hide them from somebody
 * who only listens, but there is no key of this TPM yet whose Name could be trusted, so not from
 * somebody who sits in between; and what they protect is availability only: owner auth can evict
 * keys and the counter (a counter defined anew starts above every old value), lockout auth can
 * clear the TPM, storage auth can import and load objects, and by the storage key's policy nothing
 * else (tpm_policy.h). None of them lets an object out. Whoever runs init must trust the machine at
 * that moment in any case.
 */

struct tpm_auths {
    struct secret *storage; /* of storage and audit key, for the keeper */
    struct secret *owner;   /* for the recovery key only, as is the next */
    struct secret *lockout;
};

/* Wipes and frees them. {0} is allowed. */
void tpm_auths_deinit(struct tpm_auths *auths);
/* Three random ones. ESCROW_ERR_NO_MEMORY if the secure heap is full. */
MUST_CHECK enum escrow_err tpm_auths_new(struct tpm_auths *ret_auths);

/*
 * ESCROW_ERR_EXISTS, with a log line for each thing that is there and one that says how to go on,
 * if the TPM has an owner or lockout auth, has TPM2_Clear disabled, or holds a key or counter of
 * escrowd's form (a finished or an interrupted init).
 */
MUST_CHECK enum escrow_err tpm_provision_check(struct tpm *tpm);

/*
 * Makes it all. tpm must not be attached; on success it still is not. After a failure half way the
 * TPM keeps what was made and a second init refuses with the message above.
 */
MUST_CHECK enum escrow_err tpm_provision(struct tpm *tpm, const struct tpm_auths *auths,
                                         struct tpm_names *ret_names);
