/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/nonce.h"

#include "libescrow/log.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct open_nonce {
    uint8_t nonce[ACT_NONCE_BYTES];
    char identity[IDENTITY_MAX + 1];
    enum act_kind act;
    enum act_purpose purpose;
    struct act_subject subject;
    int64_t expires_ms;
};

struct nonces {
    size_t count;
    struct open_nonce *open; /* room for NONCES_MAX, the oldest first */
};

struct nonces *nonces_new(void)
{
    CLEANUP(nonces_free_p) struct nonces *nonces = calloc(1, sizeof(*nonces));

    if (nonces)
        nonces->open = calloc(NONCES_MAX, sizeof(*nonces->open));
    return nonces && nonces->open ? TAKE(nonces) : NULL;
}

void nonces_free(struct nonces *nonces)
{
    free(nonces->open);
    free(nonces);
}

static void close_nonces(struct nonces *nonces, size_t first, size_t count)
{
    nonces->count -= count;
    memmove(&nonces->open[first], &nonces->open[first + count],
            (nonces->count - first) * sizeof(*nonces->open));
}

static void drop_expired(struct nonces *nonces, int64_t now_ms)
{
    size_t expired = 0;

    while (expired < nonces->count && nonces->open[expired].expires_ms <= now_ms)
        expired++;
    close_nonces(nonces, 0, expired);
}

/* How many this one's identity has from here on, itself included. */
static size_t count_from(const struct nonces *nonces, size_t first)
{
    size_t count = 0;

    for (size_t i = first; i < nonces->count; i++)
        count += strcmp(nonces->open[i].identity, nonces->open[first].identity) == 0;
    return count;
}

/* Room for one more of this identity: its oldest one gives way. */
static void close_oldest(struct nonces *nonces, const char *identity)
{
    size_t first = 0;

    while (first < nonces->count && strcmp(nonces->open[first].identity, identity) != 0)
        first++;
    if (first < nonces->count && count_from(nonces, first) >= NONCES_PER_IDENTITY)
        close_nonces(nonces, first, 1);
}

/*
 * Room for one more where there is none: of the identity that has the most, the oldest one gives
 * way. Whoever has a few is not touched by those who ask for many.
 */
static void close_of_the_greediest(struct nonces *nonces)
{
    size_t most = 0, found = 0;

    for (size_t i = 0; i < nonces->count && most < NONCES_PER_IDENTITY; i++) {
        size_t count = count_from(nonces, i);

        if (count > most) {
            most = count;
            found = i;
        }
    }
    close_nonces(nonces, found, 1);
}

enum escrow_err nonces_issue(struct nonces *nonces, const struct nonce_binding *binding,
                             int64_t now_ms, uint8_t ret_nonce[static ACT_NONCE_BYTES])
{
    struct open_nonce *open;

    if (strlen(binding->identity) > IDENTITY_MAX)
        return ESCROW_ERR_MALFORMED;
    drop_expired(nonces, now_ms);
    close_oldest(nonces, binding->identity);
    if (nonces->count == NONCES_MAX)
        close_of_the_greediest(nonces);
    open = &nonces->open[nonces->count];
    memset(open, 0, sizeof(*open));
    if (RAND_bytes(open->nonce, sizeof(open->nonce)) != 1) {
        log_openssl("nonce");
        return ESCROW_ERR_CRYPTO;
    }
    memcpy(open->identity, binding->identity, strlen(binding->identity) + 1);
    open->act = binding->act;
    open->purpose = binding->purpose;
    open->subject = binding->subject;
    open->expires_ms = now_ms + NONCE_TTL_MS;
    nonces->count++;
    memcpy(ret_nonce, open->nonce, sizeof(open->nonce));
    return ESCROW_OK;
}

static bool is_bound_to(const struct open_nonce *open, const struct nonce_binding *binding)
{
    return strcmp(open->identity, binding->identity) == 0 && open->act == binding->act &&
           open->purpose == binding->purpose &&
           strcmp(open->subject.group, binding->subject.group) == 0 &&
           strcmp(open->subject.database, binding->subject.database) == 0;
}

enum escrow_err nonces_take(struct nonces *nonces, const uint8_t nonce[static ACT_NONCE_BYTES],
                            const struct nonce_binding *binding, int64_t now_ms)
{
    drop_expired(nonces, now_ms);
    for (size_t i = 0; i < nonces->count; i++) {
        if (CRYPTO_memcmp(nonces->open[i].nonce, nonce, ACT_NONCE_BYTES) != 0)
            continue;
        /* Of another identity it stays open: a stranger must not be able to use it up. */
        if (!is_bound_to(&nonces->open[i], binding))
            return ESCROW_ERR_DENIED;
        close_nonces(nonces, i, 1);
        return ESCROW_OK;
    }
    return ESCROW_ERR_DENIED;
}
