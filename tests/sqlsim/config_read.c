/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/config_read.h"

#include "libescrow/log.h"
#include "tests/sqlsim/memory.h"

#include <stdlib.h>
#include <string.h>

enum escrow_err config_wrong(const char *place, const char *what)
{
    log_error("configuration: %s: %s", place, what);
    return ESCROW_ERR_CONFIG;
}

enum escrow_err config_check_keys(const json_t *object, const char *place, const char *const *known)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return config_wrong(place, "must be an object");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;

        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return config_wrong(key, "unknown key");
    }
    return ESCROW_OK;
}

const char *config_text(const json_t *object, const char *key, const char *missing)
{
    const json_t *value = json_object_get(object, key);

    return value ? json_string_value(value) : missing;
}

enum escrow_err config_word(const json_t *object, const char *key, const char *const *words,
                            size_t *ret_index)
{
    const char *word = config_text(object, key, words[0]);

    for (size_t i = 0; word && words[i]; i++) {
        if (strcmp(words[i], word) == 0) {
            *ret_index = i;
            return ESCROW_OK;
        }
    }
    return config_wrong(key, "no such value");
}

void config_replace(char **text, const char *value)
{
    free(*text);
    *text = memory_copy(value);
}
