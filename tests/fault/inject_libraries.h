/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <openssl/crypto.h>
#include <tss2/tss2_tcti.h>

/*
 * Failures inside the libraries that let us hand them their memory, their system calls or their
 * transport: there the library's own way of failing is seen, not one that we imagine.
 */

/* jansson, libevent and SQLite allocate, and SQLite writes, by functions that can fail. */
void inject_libraries(void);
/* OpenSSL's allocators, made to fail. */
void inject_openssl(CRYPTO_malloc_fn *on_malloc, CRYPTO_realloc_fn *on_realloc);
/* Who asks which allocator is set must not see ours. */
void inject_openssl_true(CRYPTO_malloc_fn *on_malloc);
/*
 * The transport of a TPM made to fail: the command is lost, or done but its answer lost, or refused
 * by a code. One for each process.
 */
TSS2_TCTI_CONTEXT *inject_tpm(TSS2_TCTI_CONTEXT *tcti);
