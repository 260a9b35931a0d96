/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_listener.h"
#include "escrowd/front_problem.h"
#include "escrowd/front_route.h"
#include "escrowd/front_scan.h"
#include "libescrow/cleanup.h"

#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

/* ---- front_scan ---- */

static const char head[] = "GET / HTTP/1.1\r\nHost: x\r\nA:\tb\r\n\r\n";

static enum front_scan_state scan(const char *bytes, size_t len)
{
    enum front_scan_state state = FRONT_SCAN_FIRST;

    front_scan(&state, (const uint8_t *)bytes, len);
    return state;
}

static void test_scan_takes_a_head_in_any_pieces(void **state)
{
    (void)state;
    assert_int_equal(scan(head, sizeof(head) - 1), FRONT_SCAN_DONE);
    for (size_t cut = 1; cut < sizeof(head) - 1; cut++) {
        enum front_scan_state pieces = FRONT_SCAN_FIRST;

        front_scan(&pieces, (const uint8_t *)head, cut);
        assert_int_not_equal(pieces, FRONT_SCAN_DONE);
        assert_int_not_equal(pieces, FRONT_SCAN_BAD);
        front_scan(&pieces, (const uint8_t *)head + cut, sizeof(head) - 1 - cut);
        assert_int_equal(pieces, FRONT_SCAN_DONE);
    }
}

/* Every byte value at every place: only printable ones and tabs, and CR LF in pairs. */
static void test_scan_refuses_each_wrong_byte(void **state)
{
    (void)state;
    for (size_t at = 0; at < sizeof(head) - 1; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char bytes[sizeof(head)];

            memcpy(bytes, head, sizeof(head));
            bytes[at] = (char)byte;
            if (byte >= 0x20 && byte < 0x7f)
                continue;
            if (bytes[at] == head[at] || byte == '\t' || byte == '\r' || byte == '\n')
                continue; /* the cases below */
            assert_int_equal(scan(bytes, sizeof(head) - 1), FRONT_SCAN_BAD);
        }
    }
}

static void test_scan_refuses_what_evhttp_hides(void **state)
{
    static const char *const heads[] = {
        "GET / HTTP/1.1\nHost: x\n\n",                  /* bare LF */
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n",  /* obs-fold */
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n", /* obs-fold */
        "GET / HTTP/1.1\r\n Host: x\r\n",               /* white space before the first header */
        "GET / HTTP/1.1\rHost: x\r\n",                  /* bare CR */
        "GET / HTTP/1.1\r\nHost: x\r\n\rA",             /* bare CR at the end */
        "\r\nGET / HTTP/1.1\r\n",                       /* an empty line first */
        " GET / HTTP/1.1\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        assert_int_equal(scan(heads[i], strlen(heads[i])), FRONT_SCAN_BAD);
}

static void test_scan_does_not_look_at_the_body(void **state)
{
    enum front_scan_state scanned = FRONT_SCAN_FIRST;

    (void)state;
    front_scan(&scanned, (const uint8_t *)head, sizeof(head) - 1);
    front_scan(&scanned, (const uint8_t *)"\0\n\x80", 3);
    assert_int_equal(scanned, FRONT_SCAN_DONE);
}

/* ---- front_route ---- */

/* A head as evhttp hands it over; headers are pairs of name and value, ending with NULL. */
static enum reason route(enum evhttp_cmd_type method, const char *target, size_t body_len,
                         const char *const *headers, struct ipc_request *ret_request,
                         const char **ret_allow)
{
    struct evhttp_request *request = evhttp_request_new(NULL, NULL);
    struct evkeyvalq *queue = evhttp_request_get_input_headers(request);
    const struct front_head parsed = {.method = method,
                                      .target = target,
                                      .major = 1,
                                      .minor = 1,
                                      .headers = queue,
                                      .body_len = body_len};
    enum reason reason;

    for (; *headers; headers += 2)
        assert_int_equal(evhttp_add_header(queue, headers[0], headers[1]), 0);
    *ret_allow = NULL;
    reason = front_route(&parsed, ret_request, ret_allow);
    evhttp_request_free(request);
    return reason;
}

static const char *const get_headers[] = {"Host", "x", NULL};
static const char *const post_headers[] = {
    "Host", "x", "Content-Type", "application/json", "Content-Length", "2", NULL};

static void test_every_route(void **state)
{
    static const struct {
        const char *target;
        enum evhttp_cmd_type method;
        enum route route;
    } routes[] = {
        {"/v1/health", EVHTTP_REQ_GET, ROUTE_HEALTH},
        {"/v1/roster", EVHTTP_REQ_GET, ROUTE_ROSTER},
        {"/v1/challenge", EVHTTP_REQ_POST, ROUTE_CHALLENGE},
        {"/v1/deposit", EVHTTP_REQ_POST, ROUTE_DEPOSIT},
        {"/v1/release", EVHTTP_REQ_POST, ROUTE_RELEASE},
        {"/v1/receipt", EVHTTP_REQ_POST, ROUTE_RECEIPT},
        {"/v1/orders", EVHTTP_REQ_GET, ROUTE_ORDERS},
        {"/v1/orders", EVHTTP_REQ_POST, ROUTE_ORDER},
        {"/v1/publish", EVHTTP_REQ_POST, ROUTE_PUBLISH},
        {"/v1/secrets", EVHTTP_REQ_GET, ROUTE_SECRETS},
        {"/v1/status", EVHTTP_REQ_GET, ROUTE_STATUS},
        {"/v1/audit", EVHTTP_REQ_GET, ROUTE_AUDIT},
        {"/v1/approve", EVHTTP_REQ_POST, ROUTE_APPROVE},
        {"/v1/requests?number=1", EVHTTP_REQ_GET, ROUTE_REQUEST},
        {"/v1/explain?target=1", EVHTTP_REQ_GET, ROUTE_EXPLAIN},
        {"/v1/rebaseline", EVHTTP_REQ_POST, ROUTE_REBASELINE},
    };
    struct ipc_request request;
    const char *allow;

    (void)state;
    assert_int_equal(ARRAY_LEN(routes), ROUTE_COUNT - 1);
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        bool is_post = routes[i].method == EVHTTP_REQ_POST;

        for (int method = EVHTTP_REQ_GET; method <= EVHTTP_REQ_PATCH; method <<= 1) {
            bool has_body = method == EVHTTP_REQ_POST && is_post;
            enum reason reason =
                route((enum evhttp_cmd_type)method, routes[i].target, has_body ? 2 : 0,
                      has_body ? post_headers : get_headers, &request, &allow);

            if (method == (int)routes[i].method) {
                assert_int_equal(reason, REASON_NONE);
                assert_int_equal(request.route, routes[i].route);
                assert_int_equal(request.wait_ms,
                                 routes[i].route == ROUTE_RELEASE ? IPC_RELEASE_WAIT_MS : 0);
            } else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_POST) {
                assert_int_equal(reason, REASON_METHOD_NOT_ALLOWED);
                assert_non_null(strstr(allow, is_post ? "POST" : "GET"));
            }
        }
    }
}

static void test_query(void **state)
{
    static const struct {
        const char *target;
        bool is_right;
        uint64_t wait_ms, from, limit;
    } queries[] = {
        {"/v1/orders?wait=0", true, 0, 0, 0},
        {"/v1/orders?wait=60", true, 60000, 0, 0},
        {"/v1/orders?wait=61", false, 0, 0, 0},
        {"/v1/orders?wait=", false, 0, 0, 0},
        {"/v1/orders?wait", false, 0, 0, 0},
        {"/v1/orders?", false, 0, 0, 0},
        {"/v1/orders?wait=1&", false, 0, 0, 0},
        {"/v1/orders?wait=0x1", false, 0, 0, 0},
        {"/v1/orders?wait=-1", false, 0, 0, 0},
        {"/v1/orders?wait=1&wait=1", false, 0, 0, 0},
        {"/v1/orders?waits=1", false, 0, 0, 0},
        {"/v1/audit", true, 0, 1, 100},
        {"/v1/audit?from=5", true, 0, 5, 100},
        {"/v1/audit?limit=7&from=5", true, 0, 5, 7},
        {"/v1/audit?from=0", false, 0, 0, 0},
        {"/v1/audit?limit=1001", false, 0, 0, 0},
        {"/v1/audit?from=9999999999999999999", false, 0, 0, 0},
        {"/v1/requests?number=5", true, 0, 5, 0},
        {"/v1/requests?wait=30&number=5", true, 30000, 5, 0},
        {"/v1/requests?number=5&wait=61", false, 0, 0, 0},
        {"/v1/requests?number=0", false, 0, 0, 0},
        {"/v1/requests?wait=30", false, 0, 0, 0},
        {"/v1/requests", false, 0, 0, 0},
        {"/v1/explain?target=3", true, 0, 3, 0},
        {"/v1/explain?target=0", false, 0, 0, 0},
        {"/v1/explain?target=3&wait=1", false, 0, 0, 0},
        {"/v1/explain", false, 0, 0, 0},
        {"/v1/health?from=1", false, 0, 0, 0},
        {"/v1/health?", false, 0, 0, 0},
    };
    const char *allow;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct ipc_request request = {0};
        enum reason reason =
            route(EVHTTP_REQ_GET, queries[i].target, 0, get_headers, &request, &allow);

        assert_int_equal(reason, queries[i].is_right ? REASON_NONE : REASON_MALFORMED);
        assert_int_equal(request.wait_ms, queries[i].wait_ms);
        assert_int_equal(request.from, queries[i].from);
        assert_int_equal(request.limit, queries[i].limit);
    }
}

static void test_paths_are_compared_byte_for_byte(void **state)
{
    static const char *const targets[] = {
        "/v1/health/", "/v1//health",  "/V1/health", "/v1/./health",
        "/v1/healt",   "/v1/health#x", "/"};
    struct ipc_request request;
    const char *allow;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        assert_int_equal(route(EVHTTP_REQ_GET, targets[i], 0, get_headers, &request, &allow),
                         REASON_NO_SUCH_PATH);
}

static void test_content_type(void **state)
{
    static const struct {
        const char *type;
        bool is_right;
    } types[] = {{"application/json", true},
                 {"Application/JSON", true},
                 {"application/json;charset=utf-8", true},
                 {"application/jsonp", false},
                 {"application/problem+json", false},
                 {"text/plain", false},
                 {"", false}};
    struct ipc_request request;
    const char *allow;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const char *const headers[] = {"Host", "x", "Content-Type", types[i].type, "Content-Length",
                                       "2",    NULL};

        assert_int_equal(route(EVHTTP_REQ_POST, "/v1/release", 2, headers, &request, &allow),
                         types[i].is_right ? REASON_NONE : REASON_MALFORMED);
    }
}

/* ---- front_problem ---- */

static void test_every_reason_has_its_problem(void **state)
{
    (void)state;
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
        CLEANUP(cleanup_free) char *text = front_problem((enum reason)reason, "a \"b\"");
        json_t *problem = json_loads(text, 0, NULL);
        const char *type;

        assert_non_null(problem);
        type = json_string_value(json_object_get(problem, "type"));
        assert_int_equal(strncmp(type, "urn:escrowd:problem:", 20), 0);
        assert_string_equal(type + 20, reason_code((enum reason)reason));
        assert_string_equal(json_string_value(json_object_get(problem, "code")), type + 20);
        assert_string_equal(json_string_value(json_object_get(problem, "title")),
                            reason_text((enum reason)reason));
        assert_string_equal(json_string_value(json_object_get(problem, "detail")), "a \"b\"");
        assert_int_equal(json_integer_value(json_object_get(problem, "status")),
                         reason_http_status((enum reason)reason));
        json_decref(problem);
    }
}

static void test_a_detail_that_is_not_utf8_is_left_out(void **state)
{
    CLEANUP(cleanup_free) char *plain = front_problem(REASON_BRAKE, NULL);
    CLEANUP(cleanup_free) char *empty = front_problem(REASON_BRAKE, "");
    CLEANUP(cleanup_free) char *broken = front_problem(REASON_BRAKE, "\xff");

    (void)state;
    assert_null(strstr(plain, "detail"));
    assert_string_equal(plain, empty);
    assert_string_equal(plain, broken);
}

/* ---- front_listener ---- */

static void test_accepted_connections_have_nodelay(void **state)
{
    static const struct {
        const char *address;
        int family;
    } addresses[] = {{"127.0.0.1", AF_INET}, {"::1", AF_INET6}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct sockaddr_storage bound = {0};
        socklen_t len = sizeof(bound), size = sizeof(int);
        int listener, client, accepted, nodelay = 0;
        struct pollfd ready = {.events = POLLIN};
        uint16_t port;

        assert_int_equal(front_listen(addresses[i].address, 0, &listener, &port), ESCROW_OK);
        assert_true(port > 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&bound, &len), 0);
        client = socket(addresses[i].family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(client, (struct sockaddr *)&bound, len), 0);
        ready.fd = listener;
        assert_int_equal(poll(&ready, 1, 5000), 1);
        accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(accepted >= 0);
        assert_int_equal(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size), 0);
        assert_int_equal(nodelay, 1);
        cleanup_close(&accepted);
        cleanup_close(&client);
        cleanup_close(&listener);
    }
}

static void test_only_addresses_are_listened_on(void **state)
{
    static const char *const addresses[] = {"localhost", "127.0.0.1.2", "", "*", "192.0.2.1"};
    uint16_t port;
    int fd = -1;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        assert_int_equal(front_listen(addresses[i], 0, &fd, &port), ESCROW_ERR_CONFIG);
    assert_int_equal(fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_takes_a_head_in_any_pieces),
        cmocka_unit_test(test_scan_refuses_each_wrong_byte),
        cmocka_unit_test(test_scan_refuses_what_evhttp_hides),
        cmocka_unit_test(test_scan_does_not_look_at_the_body),
        cmocka_unit_test(test_every_route),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_paths_are_compared_byte_for_byte),
        cmocka_unit_test(test_content_type),
        cmocka_unit_test(test_every_reason_has_its_problem),
        cmocka_unit_test(test_a_detail_that_is_not_utf8_is_left_out),
        cmocka_unit_test(test_accepted_connections_have_nodelay),
        cmocka_unit_test(test_only_addresses_are_listened_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
