/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Texts on the wire are UTF-16LE; here they are UTF-8. */

/* UTF-16LE of len bytes as UTF-8, owned by the caller; unpaired surrogates become U+FFFD, NUL too.
 */
char *tds_text_decode(const uint8_t *bytes, size_t len);

/* UTF-8 as UTF-16LE, owned by the caller; *ret_len in bytes. The text is the model's own and valid,
 * else U+FFFD stands for each wrong byte. */
uint8_t *tds_text_encode(const char *text, size_t *ret_len);
