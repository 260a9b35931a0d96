/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request: the scan says the same however the bytes are cut, and lets through exactly
 * what RFC 9112 calls a head; a route is only ever within its table's bounds, for a request with
 * one Host and one length. The input: where to cut, method and version, length of the body, head.
 */
#include "escrowd/front_route.h"
#include "escrowd/front_scan.h"
#include "libescrow/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <event2/keyvalq_struct.h>

#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#define HEADERS_MAX 80
#define TEXT_MAX 8192

static bool is_text(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f;
}

/* Lines of printable characters and tabs, each ended by CR LF and begun by neither space nor tab.
 */
static bool is_head(const uint8_t *bytes, size_t len)
{
    bool is_start = true;

    for (size_t i = 0; i < len; i++) {
        if (is_start && (!is_text(bytes[i]) || bytes[i] == ' '))
            return false;
        is_start = false;
        if (bytes[i] == '\r' && i + 1 < len && bytes[i + 1] == '\n') {
            is_start = true;
            i++;
        } else if (!is_text(bytes[i]) && bytes[i] != '\t') {
            return false;
        }
    }
    return len > 0 && !is_start;
}

static void check_scan(const uint8_t *bytes, size_t len, size_t cut)
{
    enum front_scan_state whole = FRONT_SCAN_FIRST, parts = FRONT_SCAN_FIRST;
    const uint8_t *end = len > 0 ? memmem(bytes, len, "\r\n\r\n", 4) : NULL;
    const bool is_good = end && is_head(bytes, (size_t)(end - bytes));

    cut = len > 0 ? cut % len : 0;
    front_scan(&whole, bytes, len);
    front_scan(&parts, bytes, cut);
    for (size_t i = cut; i < len; i++)
        front_scan(&parts, bytes + i, 1);
    FUZZ_CHECK(whole == parts);
    FUZZ_CHECK((whole == FRONT_SCAN_DONE) == is_good);
}

/* The lines of a head as evhttp would hand them out: texts, cut at the first colon. */
static size_t cut_headers(char *text, struct evkeyval *fields, struct evkeyvalq *headers)
{
    size_t count = 0;
    char *line = text;

    TAILQ_INIT(headers);
    while (line && count < HEADERS_MAX) {
        char *next = strstr(line, "\r\n"), *colon;

        if (next) {
            *next = '\0';
            next += 2;
        }
        colon = strchr(line, ':');
        if (colon) {
            *colon = '\0';
            fields[count].key = line;
            fields[count].value = colon + 1 + strspn(colon + 1, " \t");
            TAILQ_INSERT_TAIL(headers, &fields[count], next);
            count++;
        }
        line = next;
    }
    return count;
}

static size_t count_of(const struct evkeyvalq *headers, const char *name)
{
    const struct evkeyval *header;
    size_t count = 0;

    for (header = headers->tqh_first; header; header = header->next.tqe_next)
        count += strcasecmp(header->key, name) == 0;
    return count;
}

static void check_taken(const struct front_head *head, const struct ipc_request *request)
{
    FUZZ_CHECK(strncmp(head->target, "/v1/", 4) == 0 && head->major == 1 && head->minor == 1);
    FUZZ_CHECK(head->method == EVHTTP_REQ_GET || head->method == EVHTTP_REQ_POST);
    FUZZ_CHECK((head->method == EVHTTP_REQ_POST) == (head->body_len > 0));
    FUZZ_CHECK(head->body_len <= IPC_BODY_MAX);
    FUZZ_CHECK(count_of(head->headers, "Host") == 1);
    FUZZ_CHECK(count_of(head->headers, "Transfer-Encoding") == 0);
    FUZZ_CHECK(count_of(head->headers, "Content-Length") <= 1);
    FUZZ_CHECK(head->body_len == 0 || count_of(head->headers, "Content-Length") == 1);
    FUZZ_CHECK(request->route >= ROUTE_HEALTH && request->route < ROUTE_COUNT);
    FUZZ_CHECK(request->wait_ms <= FRONT_WAIT_MAX_S * 1000);
    if (request->route == ROUTE_AUDIT)
        FUZZ_CHECK(request->from >= 1 && request->limit >= 1 && request->limit <= FRONT_AUDIT_MAX);
    else
        FUZZ_CHECK(request->from == 0 && request->limit == 0);
}

static void check_route(struct fuzz_source source, uint8_t method, size_t body_len)
{
    static struct evkeyval fields[HEADERS_MAX];
    static char text[TEXT_MAX];
    static const enum evhttp_cmd_type methods[] = {EVHTTP_REQ_GET, EVHTTP_REQ_POST, EVHTTP_REQ_PUT,
                                                   EVHTTP_REQ_HEAD};
    struct evkeyvalq headers;
    struct ipc_request request = {0};
    const char *allow = FUZZ_UNTOUCHED;
    const struct front_head head = {.method = methods[method % ARRAY_LEN(methods)],
                                    .target = text,
                                    .major = method & 0x40 ? 2 : 1,
                                    .minor = method & 0x80 ? 0 : 1,
                                    .headers = &headers,
                                    .body_len = body_len};
    char *rest;
    enum reason reason;

    memset(text, 0, sizeof(text));
    if (source.len > 0)
        memcpy(text, source.bytes, source.len < TEXT_MAX ? source.len : TEXT_MAX - 1);
    rest = strstr(text, "\r\n");
    if (rest)
        *rest = '\0';
    cut_headers(rest ? rest + 2 : NULL, fields, &headers);
    reason = front_route(&head, &request, &allow);
    FUZZ_CHECK(reason == REASON_NONE || reason == REASON_MALFORMED || reason == REASON_TOO_LARGE ||
               reason == REASON_NO_SUCH_PATH || reason == REASON_METHOD_NOT_ALLOWED);
    if (reason == REASON_METHOD_NOT_ALLOWED)
        FUZZ_CHECK(strcmp(allow, "GET") == 0 || strcmp(allow, "POST") == 0 ||
                   strcmp(allow, "GET, POST") == 0);
    if (reason == REASON_NONE)
        check_taken(&head, &request);
    else
        FUZZ_CHECK(request.route == 0);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    struct fuzz_source source = {bytes, len};
    const size_t cut = (size_t)fuzz_take_byte(&source) << 8 | fuzz_take_byte(&source);
    const uint8_t method = fuzz_take_byte(&source);
    const size_t body_len = (size_t)fuzz_take_byte(&source) << 8 | fuzz_take_byte(&source);

    check_scan(source.bytes, source.len, cut);
    check_route(source, method, body_len * 4);
}
