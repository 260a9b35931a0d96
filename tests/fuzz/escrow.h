/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/fixture.h"

#include <stddef.h>
#include <stdint.h>

/*
 * An escrow for targets that need signatures: its keys are made at run time, so no corpus holds
 * one. Where a document of a corpus needs something of it, there stands a text that begins with
 * "@": a path into the payload of its roster ("@members/0/storage", "@authority"), or the Name of
 * one of its keys ("@name/storage0", "@name/agent").
 */

/* Never NULL, never freed. */
struct fixture *fuzz_escrow(void);

/* fuzz_json with those texts replaced. */
json_t *fuzz_document(const uint8_t *bytes, size_t len);

/* The signer Name of a key. */
struct tpm_name fuzz_name(EVP_PKEY *key);

/* Signs without a failure: a JWS with this header (borrowed) and payload; NULL if it is too large.
 */
char *fuzz_sign(EVP_PKEY *key, json_t *header, json_t *payload);

/* The payload of a JWS that was verified; never NULL. */
json_t *fuzz_payload(const char *compact);
