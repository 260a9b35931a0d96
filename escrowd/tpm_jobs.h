/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_release.h"
#include "escrowd/tpm_thread.h"
#include "libescrow/act.h"

/*
 * What the TPM's thread is asked for. A job has a copy of everything that it needs, and when it is
 * done, what came of it; the code here includes nothing of the keeper, so it cannot reach what is
 * the event loop's. Errors are those of tpm_context.h, and what a function here says besides.
 */

/* Is the TPM there? job.err as tpm_check. */
void tpm_check_job(struct tpm *tpm, struct tpm_job *job);

/* tpm_import. */
struct tpm_import_job {
    struct tpm_job job;
    struct wrap_object object;
    struct wrap_blob blob;
    struct tpm_private private_area; /* the result */
};
void tpm_import_job(struct tpm *tpm, struct tpm_job *job);

struct tpm_release_object {
    struct wrap_object object;
    struct wrap_blob blob;           /* this member's own, if there is no private area yet */
    struct tpm_private private_area; /* len 0: is imported first, and a result */
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    struct wrap_blob released; /* the result */
};

#define TPM_HOST_APPROVALS_MAX 16

/*
 * A release whole: every object of a grant, to one recipient. Of several host approvals it takes
 * that of the boot state of now. job.err is also ESCROW_ERR_TIMEOUT (it is later than start_by_ms:
 * the TPM was not asked) and ESCROW_ERR_DENIED (no host approval is of this boot state).
 */
struct tpm_release_job {
    struct tpm_job job;
    int64_t start_by_ms; /* CLOCK_BOOTTIME */
    struct ec_point authority;
    struct ec_point recipient;
    struct ec_point signer;
    char group[NAME_MAX_BYTES + 1];
    struct tpm_approval node; /* both kinds with their tickets afterwards */
    struct tpm_approval hosts[TPM_HOST_APPROVALS_MAX];
    size_t host_count;
    size_t object_count;
    struct tpm_release_object objects[ACT_OBJECTS_MAX];
};
void tpm_release_job(struct tpm *tpm, struct tpm_job *job);

/*
 * What of the same job can be done before anybody has asked for it, in two parts; recipient, signer
 * and signatures are not looked at, and nothing is duplicated. So many objects have practically all
 * a place of their own among those that are kept.
 */
#define TPM_PREPARED_MAX 2048
/* The tickets of the node approval and of the host approval of the boot state of now: 6 commands,
 * and one for each selection of PCRs if there are several host approvals. ESCROW_ERR_DENIED. */
void tpm_approvals_job(struct tpm *tpm, struct tpm_job *job);
/* tpm_prepare of all objects, which must have been imported. */
void tpm_prepare_job(struct tpm *tpm, struct tpm_job *job);
