/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/https_server.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define REQUEST_MAX (256 * 1024)

struct connection {
    int fd;
    SSL *ssl; /* NULL: plain text */
    char request[REQUEST_MAX + 1];
    size_t len;
};

static bool read_more(struct connection *connection)
{
    char *to = connection->request + connection->len;
    size_t room = REQUEST_MAX - connection->len;
    ssize_t got =
        connection->ssl ? SSL_read(connection->ssl, to, (int)room) : read(connection->fd, to, room);

    if (got <= 0)
        return false;
    connection->len += (size_t)got;
    connection->request[connection->len] = '\0';
    return true;
}

static void send_all(struct connection *connection, const char *text)
{
    size_t len = strlen(text);

    if (connection->ssl)
        SSL_write(connection->ssl, text, (int)len);
    else if (write(connection->fd, text, len) < 0)
        _exit(1);
}

/* Reads one whole request; its length, or 0 when the peer has gone. */
static size_t read_request(struct connection *connection, char **ret_body)
{
    char *end, *length;
    size_t body_len;

    while (!(end = strstr(connection->request, "\r\n\r\n"))) {
        if (!read_more(connection))
            return 0;
    }
    length = strcasestr(connection->request, "\r\nContent-Length:");
    body_len = length && length < end ? strtoul(strchr(length, ':') + 1, NULL, 10) : 0;
    *ret_body = end + 4;
    while (connection->len < (size_t)(*ret_body - connection->request) + body_len) {
        if (!read_more(connection))
            return 0;
    }
    return (size_t)(*ret_body - connection->request) + body_len;
}

static bool serve_request(struct connection *connection, const struct https_server_config *config)
{
    char *body = NULL, *answer, *method, *path, *rest = connection->request;
    size_t len = read_request(connection, &body);

    if (len == 0)
        return false;
    method = strsep(&rest, " ");
    path = strsep(&rest, " ");
    answer = config->handler(method, path, body, config->argument);
    if (!answer)
        return false;
    send_all(connection, answer);
    free(answer);
    memmove(connection->request, connection->request + len, connection->len - len + 1);
    connection->len -= len;
    return true;
}

static void serve(int listener, const struct https_server_config *config)
{
    struct tls *tls = NULL;

    if (config->tls && tls_server_new(config->tls, &tls) != ESCROW_OK)
        _exit(1);
    for (int i = 0; config->connections_max == 0 || i < config->connections_max; i++) {
        struct connection *connection = calloc(1, sizeof(*connection));

        connection->fd = accept(listener, NULL, NULL);
        if (tls) {
            connection->ssl = SSL_new(tls_context(tls));
            if (config->max_version) {
                SSL_set_min_proto_version(connection->ssl, config->max_version);
                SSL_set_max_proto_version(connection->ssl, config->max_version);
            }
            SSL_set_fd(connection->ssl, connection->fd);
        }
        if (!tls || SSL_accept(connection->ssl) == 1) {
            while (serve_request(connection, config)) {
            }
        }
        SSL_free(connection->ssl);
        close(connection->fd);
        free(connection);
    }
}

void https_server_start(const struct https_server_config *config, struct https_server *ret_server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    ret_server->port = ntohs(address.sin_port);
    ret_server->pid = fork();
    assert_true(ret_server->pid >= 0);
    if (ret_server->pid == 0) {
        /* A test that dies takes its server along. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        serve(listener, config);
        _exit(0);
    }
    close(listener);
}

void https_server_stop(struct https_server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
}

char *https_answer(int status, const char *more_headers, const char *body)
{
    char *text = NULL;

    if (asprintf(&text,
                 "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n"
                 "%s",
                 status, more_headers, strlen(body), body) < 0)
        _exit(1);
    return text;
}
