/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_problem.h"

#include "libescrow/json.h"

#include <stdio.h>

char *front_problem(enum reason reason, const char *detail)
{
    char type[128], *text = NULL;
    json_t *problem, *detail_text;

    snprintf(type, sizeof(type), "urn:escrowd:problem:%s", reason_code(reason));
    problem = json_pack("{s:s, s:s, s:i, s:s}", "type", type, "title", reason_text(reason),
                        "status", reason_http_status(reason), "code", reason_code(reason));
    if (!problem)
        return NULL;
    /* NULL for what is not UTF-8: then the reply goes without it. */
    detail_text = detail && *detail ? json_string(detail) : NULL;
    if (!detail_text || json_object_set_new(problem, "detail", detail_text) == 0)
        text = json_text(problem);
    json_decref(problem);
    return text;
}
