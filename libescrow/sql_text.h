/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/secret.h"

#include <stddef.h>
#include <stdint.h>

/*
 * UTF-8 to and from the UTF-16 of ODBC's wide functions. We convert ourselves because the driver
 * manager would do it by the locale of the process, and because iconv leaves copies of a secret
 * behind. Strict: overlong forms, surrogates in UTF-8 and lone surrogates in UTF-16 are refused,
 * so no text ever reaches a server altered.
 */

/*
 * The UTF-16 units of a text, in the secure heap whether it is secret or not; len of the result is
 * in bytes. ESCROW_ERR_MALFORMED if it is not UTF-8 or empty, ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err sql_text_to_utf16(const void *utf8, size_t len,
                                             struct secret **ret_utf16);

/*
 * Writes units as UTF-8 with a NUL into cap bytes; 3 * units + 1 always suffice.
 * ESCROW_ERR_MALFORMED if it is not UTF-16, holds a NUL or does not fit.
 */
MUST_CHECK enum escrow_err sql_text_to_utf8(const uint16_t *utf16, size_t units, char *ret_text,
                                            size_t cap);

/* Drops the incomplete UTF-8 sequence that a cut left at the end of a text. */
void sql_text_trim(char *text);
