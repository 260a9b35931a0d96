/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/json_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void json_path_set(json_t *document, const char *path, json_t *value)
{
    char copy[64], *rest = copy, *step;

    assert_non_null(value);
    snprintf(copy, sizeof(copy), "%s", path);
    while (step = strsep(&rest, "."), rest) {
        document = json_is_array(document) ? json_array_get(document, (size_t)(step[0] - '0'))
                                           : json_object_get(document, step);
        assert_non_null(document);
    }
    assert_int_equal(json_object_set_new(document, step, value), 0);
}
