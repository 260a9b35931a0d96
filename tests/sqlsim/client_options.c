/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/client_options.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    size_t words; /* of its value */
} options[] = {
    {"ansi_defaults", 1},
    {"ansi_null_dflt_on", 1},
    {"ansi_nulls", 1},
    {"ansi_padding", 1},
    {"ansi_warnings", 1},
    {"arithabort", 1},
    {"concat_null_yields_null", 1},
    {"datefirst", 1},
    {"cursor_close_on_commit", 1},
    {"dateformat", 1},
    {"language", 1},
    {"implicit_transactions", 1},
    {"lock_timeout", 1},
    {"nocount", 1},
    {"numeric_roundabort", 1},
    {"quoted_identifier", 1},
    {"textsize", 1},
    {"transaction", 4},
    {"xact_abort", 1}, /* transaction: isolation level read committed */
};

/* The words of an option's value, 0 if it is none. */
static size_t words_of(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_LEN(options); i++) {
        if (strcasecmp(options[i].name, name) == 0)
            return options[i].words;
    }
    return 0;
}

bool client_options_match(const char *text)
{
    static const char separators[] = " \t\r\n;";
    CLEANUP(cleanup_free) char *copy = memory_copy(text);
    char *rest = NULL, *word = strtok_r(copy, separators, &rest);

    if (!word)
        return false;
    for (; word; word = strtok_r(NULL, separators, &rest)) {
        size_t words =
            strcasecmp(word, "set") == 0 ? words_of(strtok_r(NULL, separators, &rest)) : 0;

        if (!words)
            return false;
        while (words--) {
            if (!strtok_r(NULL, separators, &rest))
                return false;
        }
    }
    return true;
}
