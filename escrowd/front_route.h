/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/ipc_messages.h"

#include <event2/http.h>

/*
 * What may be asked: the table of paths, and the strict reading of a request's head. Whatever is
 * not in the table, or could be read in two ways, is refused before the keeper hears of it.
 */

#define FRONT_HEAD_MAX 8192                      /* bytes of a request's head */
#define FRONT_BODY_MAX ((size_t)3 * 1024 * 1024) /* of POST /v1/publish; others: IPC_BODY_MAX */
#define FRONT_WAIT_MAX_S 60                      /* of GET /v1/orders?wait= and requests?wait= */
#define FRONT_AUDIT_MAX 1000                     /* of GET /v1/audit?limit= */

struct front_head {
    enum evhttp_cmd_type method;
    const char *target; /* as sent: path and query */
    int major, minor;
    const struct evkeyvalq *headers;
    size_t body_len;
};

/*
 * REASON_NONE with route, wait_ms, from and limit of *ret_request filled; else why not
 * (REASON_MALFORMED, REASON_TOO_LARGE, REASON_NO_SUCH_PATH, REASON_METHOD_NOT_ALLOWED). With the
 * last one *ret_allow is the value of the header Allow.
 */
MUST_CHECK enum reason front_route(const struct front_head *head, struct ipc_request *ret_request,
                                   const char **ret_allow);

/* Its client may wait for what people do, an order or an approval: it can as well ask again. */
bool front_route_waits(enum route route);
