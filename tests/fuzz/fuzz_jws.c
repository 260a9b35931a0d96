/* SPDX-License-Identifier: Apache-2.0 */
/* A compact JWS of a peer: form and signature, before anything of it is believed. */
#include "libescrow/jws.h"
#include "libescrow/log.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Any kid is this key's, so that inputs reach the check of the signature. */
static EVP_PKEY *find(const struct tpm_name *kid, void *key)
{
    (void)kid;
    return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const char *const more[] = {"act", "aud", "nonce", NULL};
    static EVP_PKEY *key;
    struct jws jws;

    log_init("fuzz", (enum log_level)0);
    if (!key)
        key = key_generate();
    if (jws_verify((const char *)bytes, len, "escrow-act", more, find, key, &jws) == ESCROW_OK)
        jws_deinit(&jws);
    return 0;
}
