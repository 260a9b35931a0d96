/* SPDX-License-Identifier: Apache-2.0 */
#include "client/rpc.h"

#include "libescrow/json.h"
#include "libescrow/log.h"

#include <curl/curl.h>

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_MAX 253 /* bytes of a DNS name */
#define URL_MAX 1024
#define RETRY_AFTER_MAX_S 86400

struct rpc {
    struct tls *tls; /* borrowed */
    CURL *curl;
    struct curl_slist *post_headers;
    char address[ADDRESS_MAX + 3]; /* of the URL: an IPv6 address in brackets */
    uint16_t port;
    int interrupt_fd;
    char error[CURL_ERROR_SIZE];
};

/* The bytes of an answer as they arrive. */
struct received {
    char *bytes;
    size_t len;
};

static void received_deinit(struct received *received)
{
    free(received->bytes);
}

/* libcurl calls it for each connection: from here on its context is ours in every setting. */
static CURLcode on_context(CURL *curl, void *context, void *argument)
{
    (void)curl;
    return tls_apply(argument, context) == ESCROW_OK ? CURLE_OK : CURLE_FAILED_INIT;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *argument)
{
    struct received *received = argument;
    size_t len = size * count;
    char *grown;

    if (len > RPC_BODY_MAX - received->len)
        return 0;
    grown = realloc(received->bytes, received->len + len + 1);
    if (!grown)
        return 0;
    memcpy(grown + received->len, bytes, len);
    received->bytes = grown;
    received->len += len;
    received->bytes[received->len] = '\0';
    return len;
}

/* libcurl calls it about once a second while it waits. */
static int on_progress(void *argument, curl_off_t all_down, curl_off_t down, curl_off_t all_up,
                       curl_off_t up)
{
    const struct rpc *rpc = argument;
    struct pollfd interrupt = {.fd = rpc->interrupt_fd, .events = POLLIN};

    (void)all_down;
    (void)down;
    (void)all_up;
    (void)up;
    return poll(&interrupt, 1, 0) > 0;
}

/* Host names are not what a server is known by: tls_apply has set the check of its identity. */
static bool set_tls(struct rpc *rpc)
{
    CURL *curl = rpc->curl;

    return curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK &&
           /* The machine's own CAs: reading them costs more than the handshake. */
           curl_easy_setopt(curl, CURLOPT_CAINFO, NULL) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_context) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, rpc->tls) == CURLE_OK;
}

/* Nothing that would mean something else in a URL. */
static bool is_host(const char *address)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:";
    size_t len = strlen(address);

    return len > 0 && len <= ADDRESS_MAX && strspn(address, allowed) == len;
}

static bool set_http(struct rpc *rpc)
{
    CURL *curl = rpc->curl;

    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           /* A name server that is silent is left alone at the end, not waited for. */
           curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, rpc->error) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_XFERINFODATA, rpc) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
}

enum escrow_err rpc_new(const char *address, uint16_t port, struct tls *tls, struct rpc **ret_rpc)
{
    CLEANUP(rpc_free_p) struct rpc *rpc = NULL;

    /* Counted by libcurl: each has its cleanup in rpc_free. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return ESCROW_ERR_NO_MEMORY;
    rpc = calloc(1, sizeof(*rpc));
    if (!rpc) {
        curl_global_cleanup();
        return ESCROW_ERR_NO_MEMORY;
    }
    rpc->interrupt_fd = -1;
    rpc->port = port;
    rpc->tls = tls;
    if (!is_host(address)) {
        log_error("'%s' is neither a host name nor an IP address", address);
        return ESCROW_ERR_CONFIG;
    }
    snprintf(rpc->address, sizeof(rpc->address), strchr(address, ':') ? "[%s]" : "%s", address);
    rpc->curl = curl_easy_init();
    rpc->post_headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!rpc->curl || !rpc->post_headers || !set_tls(rpc) || !set_http(rpc))
        return ESCROW_ERR_NO_MEMORY;
    *ret_rpc = TAKE(rpc);
    return ESCROW_OK;
}

void rpc_free(struct rpc *rpc)
{
    if (!rpc)
        return;
    curl_easy_cleanup(rpc->curl);
    curl_slist_free_all(rpc->post_headers);
    free(rpc);
    curl_global_cleanup();
}

void rpc_interrupt_by(struct rpc *rpc, int fd)
{
    rpc->interrupt_fd = fd;
}

void rpc_reply_deinit(struct rpc_reply *reply)
{
    free(reply->body);
    reply->body = NULL;
}

static enum escrow_err from_curl(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_ABORTED_BY_CALLBACK:
        return ESCROW_ERR_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return ESCROW_ERR_CRYPTO;
    case CURLE_WRITE_ERROR:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return ESCROW_ERR_MALFORMED;
    case CURLE_OUT_OF_MEMORY:
        return ESCROW_ERR_NO_MEMORY;
    default:
        return ESCROW_ERR_UNAVAILABLE;
    }
}

static bool set_method(struct rpc *rpc, const char *body)
{
    CURL *curl = rpc->curl;

    if (!body)
        return curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL) == CURLE_OK;
    return curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body)) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, rpc->post_headers) == CURLE_OK;
}

static bool set_request(struct rpc *rpc, const char *path, int64_t timeout_ms,
                        struct received *received)
{
    CURL *curl = rpc->curl;
    char url[URL_MAX];

    snprintf(url, sizeof(url), "https://%s:%u%s", rpc->address, rpc->port, path);
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, received) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms) == CURLE_OK;
}

/*
 * RFC 9457 with its "code", or the "reason" of a 202. Lenient on purpose: it decides nothing, and
 * something in between may answer in a form of its own.
 */
static void read_problem(struct rpc_reply *reply)
{
    CLEANUP(json_free_p) json_t *document = NULL;
    const char *code, *detail;
    json_int_t request;

    if (json_parse(reply->body, reply->len, RPC_BODY_MAX, &document) != ESCROW_OK)
        return;
    code = json_string_value(json_object_get(document, reply->status == 202 ? "reason" : "code"));
    detail = json_string_value(json_object_get(document, "detail"));
    request = json_integer_value(json_object_get(document, "request"));
    reply->reason = code ? reason_from_code(code) : REASON_NONE;
    reply->request = request > 0 ? (uint64_t)request : 0;
    snprintf(reply->detail, sizeof(reply->detail), "%s", detail ? detail : "");
}

static enum escrow_err take_reply(struct rpc *rpc, struct received *received,
                                  struct rpc_reply *ret_reply)
{
    struct rpc_reply reply = {.len = received->len};
    curl_off_t retry_after_s = 0;
    long status = 0;

    reply.body = received->bytes ? TAKE(received->bytes) : strdup("");
    if (!reply.body)
        return ESCROW_ERR_NO_MEMORY;
    curl_easy_getinfo(rpc->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(rpc->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    reply.status = (unsigned)status;
    if (retry_after_s > 0 && retry_after_s <= RETRY_AFTER_MAX_S)
        reply.retry_after_s = (unsigned)retry_after_s;
    if (status != 200)
        read_problem(&reply);
    *ret_reply = reply;
    return ESCROW_OK;
}

enum escrow_err rpc_request(struct rpc *rpc, const char *path, const char *body, int64_t timeout_ms,
                            struct rpc_reply *ret_reply)
{
    CLEANUP(received_deinit) struct received received = {0};
    CURLcode code;

    rpc->error[0] = '\0';
    /* A fault of this only leaves the lists as they were; it has been logged. */
    if (tls_refresh_crl(rpc->tls) != ESCROW_OK)
        log_warning("the revocation lists of the escrowd could not be read again");
    if (!set_method(rpc, body) || !set_request(rpc, path, timeout_ms, &received))
        return ESCROW_ERR_NO_MEMORY;
    code = curl_easy_perform(rpc->curl);
    if (code == CURLE_OK)
        return take_reply(rpc, &received, ret_reply);
    *ret_reply = (struct rpc_reply){0};
    snprintf(ret_reply->detail, sizeof(ret_reply->detail), "%s",
             rpc->error[0] ? rpc->error : curl_easy_strerror(code));
    return from_curl(code);
}
