/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What one scalar of a configuration file means; part of config.c, for nobody else. Strict: a text
 * either has exactly the form of its type and lies in its range, or it is refused.
 */

struct config_scalar {
    const char *text; /* len bytes of UTF-8 and a NUL; there may be others in between */
    size_t len;
    bool is_plain; /* without quotes and not a block */
};

/* Whether a STRING, NAME or PATH (or an item of a list of them) may be this text. */
bool config_value_is_text(const struct config_field *field, const struct config_scalar *scalar);

/* INTEGER, DURATION (milliseconds), BOOLEAN (0, 1), ENUM (index of its word). */
bool config_value_number(const struct config_field *field, const struct config_scalar *scalar,
                         int64_t *ret_number);

/* "an integer from 1 to 65535": what a field takes. Cut off at cap. */
void config_value_expected(const struct config_field *field, char *ret_text, size_t cap);

/* "'2x'", "nothing", "a quoted '5'": what stands in the file, printable, shortened. */
void config_value_found(const struct config_scalar *scalar, char *ret_text, size_t cap);
