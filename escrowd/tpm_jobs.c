/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_jobs.h"

#include "escrowd/clock.h"
#include "escrowd/tpm_member.h"

#include <string.h>

void tpm_check_job(struct tpm *tpm, struct tpm_job *job)
{
    job->err = tpm_check(tpm);
}

void tpm_import_job(struct tpm *tpm, struct tpm_job *job)
{
    struct tpm_import_job *import = (struct tpm_import_job *)job;

    job->err = tpm_import(tpm, &import->object, &import->blob, &import->private_area);
}

/* One approval is tried as it is: the TPM says no by itself. Of several, that of the state now. */
static enum escrow_err choose_host(struct tpm *tpm, struct tpm_release_job *release,
                                   struct tpm_approval **ret_host)
{
    struct tpm_pcrs now = {.selection = 0}; /* which selects none */

    if (release->host_count == 1) {
        *ret_host = &release->hosts[0];
        return ESCROW_OK;
    }
    for (size_t i = 0; i < release->host_count; i++) {
        struct tpm_approval *host = &release->hosts[i];
        enum escrow_err err = ESCROW_OK;

        if (now.selection != host->pcrs.selection)
            err = tpm_pcrs_read(tpm, host->pcrs.selection, &now);
        if (err)
            return err;
        if (memcmp(now.digest.bytes, host->pcrs.digest.bytes, TPM_DIGEST_BYTES) == 0) {
            *ret_host = host;
            return ESCROW_OK;
        }
    }
    return ESCROW_ERR_DENIED;
}

static enum escrow_err release_object(struct tpm *tpm, struct tpm_release_job *release,
                                      struct tpm_approval *host, struct tpm_release_object *object)
{
    struct tpm_signer signer = {.key = release->signer};
    const struct tpm_release_request request = {
        .object = &object->object,
        .private_area = &object->private_area,
        .recipient = &release->recipient,
        .authority = &release->authority,
        .group = release->group,
        .signers = &signer,
        .signer_count = 1,
        .node = &release->node,
        .host = host,
    };
    enum escrow_err err = ESCROW_OK;

    memcpy(signer.signature, object->signature, sizeof(signer.signature));
    if (object->private_area.len == 0)
        err = tpm_import(tpm, &object->object, &object->blob, &object->private_area);
    return err ? err : tpm_release(tpm, &request, &object->released);
}

void tpm_release_job(struct tpm *tpm, struct tpm_job *job)
{
    struct tpm_release_job *release = (struct tpm_release_job *)job;
    struct tpm_approval *host = NULL;

    if (clock_boot_ms() > release->start_by_ms) {
        job->err = ESCROW_ERR_TIMEOUT;
        return;
    }
    job->err = choose_host(tpm, release, &host);
    for (size_t i = 0; !job->err && i < release->object_count; i++)
        job->err = release_object(tpm, release, host, &release->objects[i]);
}

void tpm_approvals_job(struct tpm *tpm, struct tpm_job *job)
{
    struct tpm_release_job *release = (struct tpm_release_job *)job;
    struct tpm_approval *host = NULL;

    job->err = choose_host(tpm, release, &host);
    if (!job->err)
        job->err = tpm_approval_verify(tpm, &release->authority, release->group, host);
    if (!job->err)
        job->err = tpm_approval_verify(tpm, &release->authority, release->group, &release->node);
}

void tpm_prepare_job(struct tpm *tpm, struct tpm_job *job)
{
    struct tpm_release_job *release = (struct tpm_release_job *)job;

    job->err = ESCROW_OK;
    for (size_t i = 0; !job->err && i < release->object_count; i++)
        job->err = tpm_prepare(tpm, &release->objects[i].object, &release->objects[i].private_area);
}
