/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_approvals.h"

#include "escrowd/keeper_state.h"
#include "escrowd/store_trust.h"

#include <stdlib.h>
#include <string.h>

#define PLACES 8 /* of one approval */

/* An entry has one of PLACES; where all are taken, the first leaves it to the newcomer. */
struct approval_cache {
    struct tpm_approval entries[APPROVALS_HELD];
};

struct approval_cache *approval_cache_new(void)
{
    return calloc(1, sizeof(struct approval_cache));
}

void approval_cache_free(struct approval_cache *cache)
{
    free(cache);
}

static bool is_of(const struct tpm_approval *entry,
                  const uint8_t signature[static ECDSA_SIGNATURE_BYTES])
{
    return memcmp(entry->signature, signature, ECDSA_SIGNATURE_BYTES) == 0;
}

/*
 * Where an approval is, or would be: its signature is as good as random, and of this approval
 * alone.
 */
static struct tpm_approval *cache_place(struct approval_cache *cache,
                                        const uint8_t signature[static ECDSA_SIGNATURE_BYTES])
{
    const size_t number = (size_t)signature[0] << 8 | signature[1];
    struct tpm_approval *best = &cache->entries[number % APPROVALS_HELD];

    for (size_t i = 0; i < PLACES; i++) {
        struct tpm_approval *entry = &cache->entries[(number + i) % APPROVALS_HELD];

        if (is_of(entry, signature))
            return entry;
        if (best->kind && !entry->kind)
            best = entry;
    }
    return best;
}

/*
 * The authority's signature was verified before the approval was stored; the TPM verifies it again
 * and gives the ticket.
 */
static const struct tpm_approval *cache_approval(struct keeper *keeper,
                                                 const struct approval *approval)
{
    struct tpm_approval *entry = cache_place(keeper->approvals, approval->signature);
    struct tpm_digest policy;

    if (is_of(entry, approval->signature))
        return entry;
    if (approval_verify(approval, keeper->authority, &policy))
        return NULL;
    *entry = (struct tpm_approval){
        .kind = approval->kind,
        .epoch = approval->epoch,
        .pcrs = approval->pcrs,
        .policy = policy,
    };
    memcpy(entry->signature, approval->signature, sizeof(entry->signature));
    return entry;
}

enum reason keeper_approvals_lack(const struct keeper *keeper, const char *group,
                                  const struct tpm_name *act_key)
{
    bool has_host, has_node;

    if (store_has_approvals(keeper->store, group, &keeper->member->names.counter, act_key,
                            &has_host, &has_node))
        return REASON_STORE_UNAVAILABLE;
    if (!has_host)
        return REASON_NO_HOST_APPROVAL;
    return has_node ? REASON_NONE : REASON_NO_NODE_APPROVAL;
}

enum reason keeper_approvals(struct keeper *keeper, const char *group,
                             const struct tpm_name *act_key, struct tpm_release_job *job)
{
    const struct tpm_name *counter = &keeper->member->names.counter;
    struct approval hosts[TPM_HOST_APPROVALS_MAX], node;
    const struct tpm_approval *known;
    enum escrow_err err;

    if (store_host_approvals(keeper->store, group, counter, hosts, TPM_HOST_APPROVALS_MAX,
                             &job->host_count))
        return REASON_STORE_UNAVAILABLE;
    if (job->host_count == 0)
        return REASON_NO_HOST_APPROVAL;
    err = store_node_approval(keeper->store, group, counter, act_key, &node);
    if (err)
        return err == ESCROW_ERR_NOT_FOUND ? REASON_NO_NODE_APPROVAL : REASON_STORE_UNAVAILABLE;
    known = cache_approval(keeper, &node);
    if (!known)
        return REASON_STORE_UNAVAILABLE;
    job->node = *known;
    for (size_t i = 0; i < job->host_count; i++) {
        known = cache_approval(keeper, &hosts[i]);
        if (!known)
            return REASON_STORE_UNAVAILABLE;
        job->hosts[i] = *known;
    }
    return REASON_NONE;
}

static void keep_ticket(struct approval_cache *cache, const struct tpm_approval *approval)
{
    struct tpm_approval *entry = cache_place(cache, approval->signature);

    if (approval->ticket_len && is_of(entry, approval->signature))
        *entry = *approval;
}

void keeper_approvals_keep(struct keeper *keeper, const struct tpm_release_job *job)
{
    keep_ticket(keeper->approvals, &job->node);
    for (size_t i = 0; i < job->host_count; i++)
        keep_ticket(keeper->approvals, &job->hosts[i]);
}
