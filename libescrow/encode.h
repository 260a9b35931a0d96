/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stddef.h>
#include <stdint.h>

/*
 * base64url without padding (RFC 4648 section 5, RFC 7515 section 2) and lower-case hexadecimal.
 * Decoding is strict: no padding, no white space, no upper-case hex, no non-zero trailing bits,
 * so that each byte string has exactly one text.
 */
#define B64URL_LEN(bytes) (((bytes)*4 + 2) / 3)

/* The text of len bytes, NUL-terminated, owned by the caller; NULL without memory. */
char *b64url_encode(const void *bytes, size_t len);
/*
 * Decodes text_len characters into at most cap bytes. ESCROW_ERR_MALFORMED if the text is not
 * strict base64url or does not fit.
 */
MUST_CHECK enum escrow_err b64url_decode(const char *text, size_t text_len, void *ret_bytes,
                                         size_t cap, size_t *ret_len);

/* Writes 2 * len characters and a NUL. */
void hex_encode(const void *bytes, size_t len, char *ret_text);
/* Decodes a NUL-terminated text of exactly 2 * len digits, else ESCROW_ERR_MALFORMED. */
MUST_CHECK enum escrow_err hex_decode(const char *text, void *ret_bytes, size_t len);
