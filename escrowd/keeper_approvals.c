/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_approvals.h"

#include "escrowd/keeper_state.h"
#include "escrowd/store_trust.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_ENTRIES 128

struct approval_cache {
    struct tpm_approval entries[CACHE_ENTRIES];
    size_t used;
    size_t next; /* to be replaced */
};

struct approval_cache *approval_cache_new(void)
{
    return calloc(1, sizeof(struct approval_cache));
}

void approval_cache_free(struct approval_cache *cache)
{
    free(cache);
}

/*
 * A signature is made for one approval alone, so it names the entry. The authority's signature was
 * verified before the approval was stored; the TPM verifies it again and gives the ticket.
 */
static const struct tpm_approval *cache_approval(struct keeper *keeper,
                                                 const struct approval *approval)
{
    struct approval_cache *cache = keeper->approvals;
    struct tpm_approval *entry;
    struct tpm_digest policy;

    for (size_t i = 0; i < cache->used; i++) {
        if (memcmp(cache->entries[i].signature, approval->signature, ECDSA_SIGNATURE_BYTES) == 0)
            return &cache->entries[i];
    }
    if (approval_verify(approval, keeper->authority, &policy))
        return NULL;
    entry = &cache->entries[cache->next];
    cache->next = (cache->next + 1) % CACHE_ENTRIES;
    if (cache->used < CACHE_ENTRIES)
        cache->used++;
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
    for (size_t i = 0; i < cache->used; i++) {
        if (memcmp(cache->entries[i].signature, approval->signature, ECDSA_SIGNATURE_BYTES) == 0)
            cache->entries[i] = *approval;
    }
}

void keeper_approvals_keep(struct keeper *keeper, const struct tpm_release_job *job)
{
    keep_ticket(keeper->approvals, &job->node);
    for (size_t i = 0; i < job->host_count; i++)
        keep_ticket(keeper->approvals, &job->hosts[i]);
}
