/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_approvals.h"

#include "escrowd/keeper_state.h"
#include "escrowd/store_trust.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_ENTRIES 128
#define HOST_APPROVALS_MAX 16

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
static struct tpm_approval *cache_approval(struct keeper *keeper, const struct approval *approval)
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

static bool is_boot_state(struct keeper *keeper, const struct approval *approval,
                          enum escrow_err *err)
{
    struct tpm_pcrs now;

    *err = tpm_pcrs_read(keeper->tpm, approval->pcrs.selection, &now);
    return *err == ESCROW_OK &&
           memcmp(now.digest.bytes, approval->pcrs.digest.bytes, TPM_DIGEST_BYTES) == 0;
}

/* One approval is tried as it is: the TPM says no by itself. Of several, that of the state now. */
static enum reason choose_host(struct keeper *keeper, const char *group,
                               struct approval *ret_approval)
{
    struct approval approvals[HOST_APPROVALS_MAX];
    size_t count;
    enum escrow_err err = ESCROW_OK;

    if (store_host_approvals(keeper->store, group, &keeper->member->names.counter, approvals,
                             HOST_APPROVALS_MAX, &count))
        return REASON_STORE_UNAVAILABLE;
    if (count == 0)
        return REASON_NO_HOST_APPROVAL;
    *ret_approval = approvals[0];
    if (count == 1)
        return REASON_NONE;
    for (size_t i = 0; !err && i < count; i++) {
        if (is_boot_state(keeper, &approvals[i], &err)) {
            *ret_approval = approvals[i];
            return REASON_NONE;
        }
    }
    return err ? REASON_TPM_UNAVAILABLE : REASON_NO_HOST_APPROVAL;
}

enum reason keeper_approvals(struct keeper *keeper, const char *group,
                             const struct tpm_name *act_key, struct tpm_approval **ret_host,
                             struct tpm_approval **ret_node)
{
    struct approval host, node;
    enum reason reason = choose_host(keeper, group, &host);
    enum escrow_err err;

    if (reason)
        return reason;
    err = store_node_approval(keeper->store, group, &keeper->member->names.counter, act_key, &node);
    if (err == ESCROW_ERR_NOT_FOUND)
        return REASON_NO_NODE_APPROVAL;
    if (err)
        return REASON_STORE_UNAVAILABLE;
    *ret_host = cache_approval(keeper, &host);
    *ret_node = cache_approval(keeper, &node);
    return *ret_host && *ret_node ? REASON_NONE : REASON_STORE_UNAVAILABLE;
}
