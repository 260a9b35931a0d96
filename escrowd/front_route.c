/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_route.h"

#include "libescrow/cleanup.h"

#include <event2/keyvalq_struct.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADERS_MAX 64
#define SMALL_BODY ((size_t)4 * 1024)

/* A number in the query: name=digits, min ..= max, else the request is malformed. */
struct parameter {
    const char *name;
    uint64_t min, max, fallback;
};

static const struct parameter orders_parameters[] = {{"wait", 0, FRONT_WAIT_MAX_S, 0}};
static const struct parameter audit_parameters[] = {{"from", 1, INT64_MAX, 1},
                                                    {"limit", 1, FRONT_AUDIT_MAX, 100}};
static const struct parameter request_parameters[] = {{"number", 1, INT64_MAX, 0},
                                                      {"wait", 0, FRONT_WAIT_MAX_S, 0}};
static const struct parameter explain_parameters[] = {{"target", 1, INT64_MAX, 0}};

#define PARAMETERS_MAX 2

static const struct row {
    const char *path;
    enum evhttp_cmd_type method;
    enum route route;
    size_t max_body;
    const struct parameter *parameters;
    size_t parameter_count;
} rows[] = {
    {"/v1/health", EVHTTP_REQ_GET, ROUTE_HEALTH, 0, NULL, 0},
    {"/v1/roster", EVHTTP_REQ_GET, ROUTE_ROSTER, 0, NULL, 0},
    {"/v1/challenge", EVHTTP_REQ_POST, ROUTE_CHALLENGE, SMALL_BODY, NULL, 0},
    {"/v1/deposit", EVHTTP_REQ_POST, ROUTE_DEPOSIT, IPC_BODY_MAX, NULL, 0},
    {"/v1/release", EVHTTP_REQ_POST, ROUTE_RELEASE, 8 * SMALL_BODY, NULL, 0},
    {"/v1/receipt", EVHTTP_REQ_POST, ROUTE_RECEIPT, 2 * SMALL_BODY, NULL, 0},
    {"/v1/orders", EVHTTP_REQ_GET, ROUTE_ORDERS, 0, orders_parameters, 1},
    {"/v1/orders", EVHTTP_REQ_POST, ROUTE_ORDER, 8 * SMALL_BODY, NULL, 0},
    {"/v1/publish", EVHTTP_REQ_POST, ROUTE_PUBLISH, FRONT_BODY_MAX, NULL, 0},
    {"/v1/secrets", EVHTTP_REQ_GET, ROUTE_SECRETS, 0, NULL, 0},
    {"/v1/status", EVHTTP_REQ_GET, ROUTE_STATUS, 0, NULL, 0},
    {"/v1/audit", EVHTTP_REQ_GET, ROUTE_AUDIT, 0, audit_parameters, 2},
    {"/v1/approve", EVHTTP_REQ_POST, ROUTE_APPROVE, 8 * SMALL_BODY, NULL, 0},
    {"/v1/requests", EVHTTP_REQ_GET, ROUTE_REQUEST, 0, request_parameters, 2},
    {"/v1/explain", EVHTTP_REQ_GET, ROUTE_EXPLAIN, 0, explain_parameters, 1},
    {"/v1/rebaseline", EVHTTP_REQ_POST, ROUTE_REBASELINE, SMALL_BODY, NULL, 0},
};

static bool is_token(const char *text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (const char *c = text; *c; c++) {
        bool is_alphanumeric =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');

        if (!is_alphanumeric && !strchr(others, *c))
            return false;
    }
    return *text != 0;
}

/* Decimal digits only, no sign, no space, at most 18 of them. */
static bool parse_number(const char *text, size_t len, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (len == 0 || len > 18)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_number = number;
    return true;
}

/* The only value of a header; NULL if it is absent, *ret_is_single false if it is there twice. */
static const char *single(const struct evkeyvalq *headers, const char *name, bool *ret_is_single)
{
    const struct evkeyval *header;
    const char *value = NULL;

    for (header = headers->tqh_first; header; header = header->next.tqe_next) {
        if (strcasecmp(header->key, name) != 0)
            continue;
        if (value)
            *ret_is_single = false;
        value = header->value;
    }
    return value;
}

static bool is_json(const char *content_type)
{
    static const char json[] = "application/json";

    return content_type && strncasecmp(content_type, json, sizeof(json) - 1) == 0 &&
           (content_type[sizeof(json) - 1] == 0 || content_type[sizeof(json) - 1] == ';');
}

static bool headers_are_right(const struct front_head *head)
{
    const struct evkeyval *header;
    const char *host, *length, *type;
    bool is_single = true;
    size_t count = 0;
    uint64_t number = 0;

    for (header = head->headers->tqh_first; header; header = header->next.tqe_next) {
        if (!is_token(header->key) || ++count > HEADERS_MAX)
            return false;
    }
    host = single(head->headers, "Host", &is_single);
    length = single(head->headers, "Content-Length", &is_single);
    type = single(head->headers, "Content-Type", &is_single);
    if (!is_single || !host || *host == 0)
        return false;
    if (single(head->headers, "Transfer-Encoding", &is_single))
        return false; /* a body has a length: RFC 9112 6.1 leaves no other unambiguous way */
    if (length && !parse_number(length, strlen(length), &number))
        return false;
    /* A length that evhttp did not read a body for would be read as the next request. */
    return number == head->body_len && (head->body_len == 0 || is_json(type));
}

static bool parse_parameter(const struct row *row, const char *text, size_t len,
                            uint64_t values[static PARAMETERS_MAX],
                            bool seen[static PARAMETERS_MAX])
{
    for (size_t i = 0; i < row->parameter_count; i++) {
        const struct parameter *parameter = &row->parameters[i];
        size_t name_len = strlen(parameter->name);

        if (len <= name_len || strncmp(text, parameter->name, name_len) != 0 ||
            text[name_len] != '=')
            continue;
        if (seen[i] || !parse_number(text + name_len + 1, len - name_len - 1, &values[i]))
            return false;
        seen[i] = true;
        return values[i] >= parameter->min && values[i] <= parameter->max;
    }
    return false;
}

static bool parse_query(const struct row *row, const char *query,
                        uint64_t values[static PARAMETERS_MAX])
{
    bool seen[PARAMETERS_MAX] = {false};

    for (size_t i = 0; i < row->parameter_count; i++)
        values[i] = row->parameters[i].fallback;
    while (query) {
        size_t len = strcspn(query, "&");

        if (!parse_parameter(row, query, len, values, seen))
            return false;
        query = query[len] ? query + len + 1 : NULL;
    }
    return true;
}

static const char *allowed_methods(const char *path, size_t len)
{
    const char *allow = NULL;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *method = rows[i].method == EVHTTP_REQ_GET ? "GET" : "POST";

        if (strlen(rows[i].path) == len && strncmp(rows[i].path, path, len) == 0)
            allow = allow ? "GET, POST" : method;
    }
    return allow;
}

static const struct row *find_row(enum evhttp_cmd_type method, const char *path, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].method == method && strlen(rows[i].path) == len &&
            strncmp(rows[i].path, path, len) == 0)
            return &rows[i];
    }
    return NULL;
}

static void fill_values(enum route route, const uint64_t values[static PARAMETERS_MAX],
                        struct ipc_request *ret_request)
{
    ret_request->wait_ms = ret_request->from = ret_request->limit = 0;
    if (route == ROUTE_RELEASE) {
        ret_request->wait_ms = IPC_RELEASE_WAIT_MS;
    } else if (route == ROUTE_ORDERS) {
        ret_request->wait_ms = values[0] * 1000;
    } else if (route == ROUTE_AUDIT) {
        ret_request->from = values[0];
        ret_request->limit = values[1];
    } else if (route == ROUTE_REQUEST) {
        ret_request->from = values[0];
        ret_request->wait_ms = values[1] * 1000;
    } else if (route == ROUTE_EXPLAIN) {
        ret_request->from = values[0];
    }
}

enum reason front_route(const struct front_head *head, struct ipc_request *ret_request,
                        const char **ret_allow)
{
    size_t path_len = strcspn(head->target, "?");
    const char *query = head->target[path_len] ? head->target + path_len + 1 : NULL;
    const struct row *row = find_row(head->method, head->target, path_len);
    uint64_t values[PARAMETERS_MAX] = {0};

    if (head->major != 1 || head->minor != 1 || head->target[0] != '/' || !headers_are_right(head))
        return REASON_MALFORMED;
    if (!row) {
        *ret_allow = allowed_methods(head->target, path_len);
        return *ret_allow ? REASON_METHOD_NOT_ALLOWED : REASON_NO_SUCH_PATH;
    }
    if (head->body_len > row->max_body)
        return row->max_body > 0 ? REASON_TOO_LARGE : REASON_MALFORMED;
    if ((row->max_body > 0 && head->body_len == 0) || !parse_query(row, query, values))
        return REASON_MALFORMED;
    /* Which? */
    if ((row->route == ROUTE_REQUEST || row->route == ROUTE_EXPLAIN) && values[0] == 0)
        return REASON_MALFORMED;
    ret_request->route = row->route;
    fill_values(row->route, values, ret_request);
    return REASON_NONE;
}

bool front_route_waits(enum route route)
{
    return route == ROUTE_ORDERS || route == ROUTE_REQUEST;
}
