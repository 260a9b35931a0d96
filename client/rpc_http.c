/* SPDX-License-Identifier: Apache-2.0 */
#include "client/rpc_http.h"

#include "libescrow/log.h"

#include <curl/curl.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_MAX 1024

struct rpc_http {
    struct tls *tls;
    CURL *curl;
    struct curl_slist *post_headers;
    char address[256]; /* of the URL: an IPv6 address in brackets */
    uint16_t port;
    int64_t timeout_ms;
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
    return tls_apply(argument, context) == ESCROW_OK ? CURLE_OK : CURLE_ABORTED_BY_CALLBACK;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *argument)
{
    struct received *received = argument;
    size_t len = size * count;
    char *grown;

    if (len > RPC_HTTP_BODY_MAX - received->len)
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

/* Host names are not what a server is known by: tls_apply has set the check of its identity. */
static bool set_tls(struct rpc_http *http)
{
    CURL *curl = http->curl;

    return curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK &&
           /* The machine's own CAs: reading them costs more than the handshake. */
           curl_easy_setopt(curl, CURLOPT_CAINFO, NULL) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_context) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, http->tls) == CURLE_OK;
}

static bool set_http(struct rpc_http *http)
{
    CURL *curl = http->curl;

    return curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->error) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
}

enum escrow_err rpc_http_new(const struct rpc_http_config *config, struct rpc_http **ret_http)
{
    CLEANUP(rpc_http_free_p) struct rpc_http *http = NULL;
    bool is_ipv6 = strchr(config->address, ':') != NULL;
    enum escrow_err err;

    /* Counted by libcurl: each has its cleanup in rpc_http_free. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return ESCROW_ERR_NO_MEMORY;
    http = calloc(1, sizeof(*http));
    if (!http) {
        curl_global_cleanup();
        return ESCROW_ERR_NO_MEMORY;
    }
    http->port = config->port;
    http->timeout_ms = config->timeout_ms;
    if (snprintf(http->address, sizeof(http->address), is_ipv6 ? "[%s]" : "%s", config->address) >=
        (int)sizeof(http->address)) {
        log_error("the address of the escrowd is too long");
        return ESCROW_ERR_CONFIG;
    }
    err = tls_client_new(&config->tls, &http->tls);
    if (err)
        return err;
    http->curl = curl_easy_init();
    http->post_headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!http->curl || !http->post_headers || !set_tls(http) || !set_http(http))
        return ESCROW_ERR_NO_MEMORY;
    *ret_http = TAKE(http);
    return ESCROW_OK;
}

void rpc_http_free(struct rpc_http *http)
{
    if (!http)
        return;
    /* First: the connection holds an SSL made from tls. */
    curl_easy_cleanup(http->curl);
    curl_slist_free_all(http->post_headers);
    tls_free(http->tls);
    free(http);
    curl_global_cleanup();
}

void rpc_http_set_timeout(struct rpc_http *http, int64_t timeout_ms)
{
    http->timeout_ms = timeout_ms;
}

static enum escrow_err from_curl(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
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

static bool set_method(struct rpc_http *http, const char *body)
{
    CURL *curl = http->curl;

    if (!body)
        return curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL) == CURLE_OK;
    return curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body)) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, http->post_headers) == CURLE_OK;
}

static bool set_request(struct rpc_http *http, const char *path, struct received *received)
{
    CURL *curl = http->curl;
    char url[URL_MAX];

    snprintf(url, sizeof(url), "https://%s:%u%s", http->address, http->port, path);
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, received) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)http->timeout_ms) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)http->timeout_ms) == CURLE_OK;
}

enum escrow_err rpc_http_request(struct rpc_http *http, const char *path, const char *body,
                                 struct rpc_http_answer *ret_answer,
                                 char ret_text[static RPC_HTTP_TEXT_MAX])
{
    CLEANUP(received_deinit) struct received received = {0};
    struct rpc_http_answer answer = {0};
    curl_off_t retry_after_s = 0;
    CURLcode code;

    http->error[0] = '\0';
    /* A fault of this only leaves the lists as they were; it has been logged. */
    if (tls_refresh_crl(http->tls) != ESCROW_OK)
        log_warning("the revocation lists of the escrowd could not be read again");
    if (!set_method(http, body) || !set_request(http, path, &received))
        return ESCROW_ERR_NO_MEMORY;
    code = curl_easy_perform(http->curl);
    if (code != CURLE_OK) {
        snprintf(ret_text, RPC_HTTP_TEXT_MAX, "%s:%u: %.200s", http->address, http->port,
                 http->error[0] ? http->error : curl_easy_strerror(code));
        return from_curl(code);
    }
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_easy_getinfo(http->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    answer.retry_after_s =
        retry_after_s > 0 && retry_after_s < UINT32_MAX ? (uint32_t)retry_after_s : 0;
    answer.body = received.bytes ? TAKE(received.bytes) : strdup("");
    answer.body_len = received.len;
    if (!answer.body)
        return ESCROW_ERR_NO_MEMORY;
    *ret_answer = answer;
    return ESCROW_OK;
}
