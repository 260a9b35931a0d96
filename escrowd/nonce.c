/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/nonce.h"

#include "libescrow/log.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct owner;

struct open_nonce {
    uint8_t nonce[ACT_NONCE_BYTES];
    enum act_kind act;
    enum act_purpose purpose;
    struct act_subject subject;
    int64_t expires_ms;
    struct owner *owner;
    TAILQ_ENTRY(open_nonce) of_all;
    TAILQ_ENTRY(open_nonce) of_owner;
};

TAILQ_HEAD(nonce_list, open_nonce); /* the oldest first */

/* An identity that has open nonces; freed with its last one. */
struct owner {
    char identity[IDENTITY_MAX + 1];
    size_t count;
    struct nonce_list open;
    TAILQ_ENTRY(owner) equals;
};

TAILQ_HEAD(owner_list, owner);

/* An issue puts the new nonce in before it makes room: so there is one more of each for a moment.
 */
struct nonces {
    size_t count;
    struct nonce_list open;
    void *owners; /* struct owner by identity: the root of a tree of tsearch(3) */
    struct owner_list having[NONCES_PER_IDENTITY + 2]; /* [n]: the owners of n nonces */
};

struct nonces *nonces_new(void)
{
    struct nonces *nonces = calloc(1, sizeof(*nonces));

    if (!nonces)
        return NULL;
    TAILQ_INIT(&nonces->open);
    for (size_t i = 0; i < ARRAY_LEN(nonces->having); i++)
        TAILQ_INIT(&nonces->having[i]);
    return nonces;
}

static int compare_owners(const void *a, const void *b)
{
    const struct owner *left = a, *right = b;

    return strcmp(left->identity, right->identity);
}

static struct owner *find_owner(const struct nonces *nonces, const char *identity)
{
    struct owner key = {0};
    struct owner *const *found;

    memcpy(key.identity, identity, strlen(identity) + 1);
    found = tfind(&key, &nonces->owners, compare_owners);
    return found ? *found : NULL;
}

static struct owner *add_owner(struct nonces *nonces, const char *identity)
{
    CLEANUP(cleanup_free) struct owner *owner = calloc(1, sizeof(*owner));

    if (!owner)
        return NULL;
    memcpy(owner->identity, identity, strlen(identity) + 1);
    TAILQ_INIT(&owner->open);
    return tsearch(owner, &nonces->owners, compare_owners) ? TAKE(owner) : NULL;
}

static void set_count(struct nonces *nonces, struct owner *owner, size_t count)
{
    if (owner->count > 0)
        TAILQ_REMOVE(&nonces->having[owner->count], owner, equals);
    owner->count = count;
    if (count == 0) {
        tdelete(owner, &nonces->owners, compare_owners);
        free(owner);
        return;
    }
    TAILQ_INSERT_TAIL(&nonces->having[count], owner, equals);
}

static void add(struct nonces *nonces, struct owner *owner, struct open_nonce *open)
{
    open->owner = owner;
    TAILQ_INSERT_TAIL(&nonces->open, open, of_all);
    TAILQ_INSERT_TAIL(&owner->open, open, of_owner);
    nonces->count++;
    set_count(nonces, owner, owner->count + 1);
}

static void end(struct nonces *nonces, struct open_nonce *open)
{
    struct owner *owner = open->owner;

    TAILQ_REMOVE(&nonces->open, open, of_all);
    TAILQ_REMOVE(&owner->open, open, of_owner);
    nonces->count--;
    set_count(nonces, owner, owner->count - 1);
    free(open);
}

void nonces_free(struct nonces *nonces)
{
    while (!TAILQ_EMPTY(&nonces->open))
        end(nonces, TAILQ_FIRST(&nonces->open));
    free(nonces);
}

static void end_expired(struct nonces *nonces, int64_t now_ms)
{
    while (!TAILQ_EMPTY(&nonces->open) && TAILQ_FIRST(&nonces->open)->expires_ms <= now_ms)
        end(nonces, TAILQ_FIRST(&nonces->open));
}

/* The first in `having`: of those who have as many, who has had them longest. */
static struct owner *greediest(struct nonces *nonces)
{
    size_t most = ARRAY_LEN(nonces->having) - 1;

    while (most > 1 && TAILQ_EMPTY(&nonces->having[most]))
        most--;
    return TAILQ_FIRST(&nonces->having[most]);
}

static void make_room(struct nonces *nonces, struct owner *newcomer)
{
    if (newcomer->count > NONCES_PER_IDENTITY)
        end(nonces, TAILQ_FIRST(&newcomer->open));
    if (nonces->count > NONCES_MAX)
        end(nonces, TAILQ_FIRST(&greediest(nonces)->open));
}

enum escrow_err nonces_issue(struct nonces *nonces, const struct nonce_binding *binding,
                             int64_t now_ms, uint8_t ret_nonce[static ACT_NONCE_BYTES])
{
    CLEANUP(cleanup_free) struct open_nonce *open = NULL;
    struct owner *owner;

    if (strlen(binding->identity) > IDENTITY_MAX)
        return ESCROW_ERR_MALFORMED;
    end_expired(nonces, now_ms);
    open = calloc(1, sizeof(*open));
    if (!open)
        return ESCROW_ERR_NO_MEMORY;
    if (RAND_bytes(open->nonce, sizeof(open->nonce)) != 1) {
        log_openssl("nonce");
        return ESCROW_ERR_CRYPTO;
    }
    open->act = binding->act;
    open->purpose = binding->purpose;
    open->subject = binding->subject;
    open->expires_ms = now_ms + NONCE_TTL_MS;
    owner = find_owner(nonces, binding->identity);
    if (!owner)
        owner = add_owner(nonces, binding->identity);
    if (!owner)
        return ESCROW_ERR_NO_MEMORY;
    memcpy(ret_nonce, open->nonce, sizeof(open->nonce));
    add(nonces, owner, TAKE(open));
    make_room(nonces, owner);
    return ESCROW_OK;
}

static bool is_bound_to(const struct open_nonce *open, const struct nonce_binding *binding)
{
    return open->act == binding->act && open->purpose == binding->purpose &&
           strcmp(open->subject.group, binding->subject.group) == 0 &&
           strcmp(open->subject.database, binding->subject.database) == 0;
}

/*
 * Only among those of this identity: a stranger's is not known here, and so he cannot use one up
 * that is not his.
 */
enum escrow_err nonces_take(struct nonces *nonces, const uint8_t nonce[static ACT_NONCE_BYTES],
                            const struct nonce_binding *binding, int64_t now_ms)
{
    const struct owner *owner;
    struct open_nonce *open;

    if (strlen(binding->identity) > IDENTITY_MAX)
        return ESCROW_ERR_DENIED;
    end_expired(nonces, now_ms);
    owner = find_owner(nonces, binding->identity);
    if (!owner)
        return ESCROW_ERR_DENIED;
    TAILQ_FOREACH(open, &owner->open, of_owner)
    {
        if (CRYPTO_memcmp(open->nonce, nonce, ACT_NONCE_BYTES) != 0)
            continue;
        if (!is_bound_to(open, binding))
            return ESCROW_ERR_DENIED;
        end(nonces, open);
        return ESCROW_OK;
    }
    return ESCROW_ERR_DENIED;
}
