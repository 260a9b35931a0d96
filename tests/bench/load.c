/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS with a client certificate, as fast as it goes, against escrowd and whatever else speaks it:
 *
 *   load MODE CA CERTIFICATES PORT PATH THREADS SECONDS|COUNT
 *
 * MODE   handshakes  for SECONDS: a new connection with a full handshake for each GET
 *        keepalive   for SECONDS: GETs over a kept connection for each thread
 *        idle        opens COUNT connections with a GET each, prints "ready", and keeps them until
 *                    its standard input ends
 *        wait        the same, but does not wait for the replies: each GET is a long poll
 *        port        prints a free port of 127.0.0.1; the rest is not looked at
 * CERTIFICATES  NAME.pem and NAME.key; or FOLDER*N: of FOLDER/crowd.pem the first N, taken in turn,
 *               all with FOLDER/crowd.key
 *
 * TLS 1.3 only, P-256, no tickets. Any status but 5xx counts. Prints as stopwatch.h says.
 */
#include "libescrow/cleanup.h"
#include "tests/bench/stopwatch.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS_MAX 64
#define NAMES_MAX 4096
#define TIMES_MAX 2000000
#define REPLY_MAX 16384

struct load {
    const char *mode, *path;
    uint16_t port;
    size_t name_count, threads; /* name_count 0: the one certificate of the context */
    SSL_CTX *context;
    X509 *certificates[NAMES_MAX];
    int64_t end_us;
};

struct worker {
    const struct load *load;
    pthread_t thread;
    int64_t *times_us;
    size_t count;
};

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(EXIT_FAILURE);
}

static SSL_CTX *new_context(const char *ca, const char *name)
{
    char certificate[512], key[512];
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    snprintf(certificate, sizeof(certificate), "%s.pem", name);
    snprintf(key, sizeof(key), "%s.key", name);
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set1_groups_list(context, "P-256") != 1 ||
        SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
        fail("the certificates cannot be used"); /* of a crowd: the first */
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return context;
}

static void add_names(struct load *load, const char *ca, char *names)
{
    char *star = strchr(names, '*'), name[500], path[512];
    size_t count = star ? strtoul(star + 1, NULL, 10) : 0;
    FILE *file;

    if (!star) {
        load->context = new_context(ca, names);
        return;
    }
    *star = '\0';
    snprintf(name, sizeof(name), "%s/crowd", names);
    snprintf(path, sizeof(path), "%s.pem", name);
    load->context = new_context(ca, name);
    file = fopen(path, "re");
    while (file && load->name_count < count && load->name_count < NAMES_MAX) {
        X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);

        if (!certificate)
            fail("there are not so many certificates");
        load->certificates[load->name_count++] = certificate;
    }
    if (!file || count == 0 || load->name_count < count)
        fail("the certificates cannot be read");
    fclose(file);
}

static SSL *dial(const struct load *load, size_t name)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(load->port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL *ssl = SSL_new(load->context);

    if (ssl && load->name_count > 0 &&
        SSL_use_certificate(ssl, load->certificates[name % load->name_count]) != 1)
        fail("a certificate cannot be used");
    if (fd < 0 || !ssl || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1)
        fail("no connection");
    return ssl;
}

static void hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

/* Bytes of a whole reply, by its Content-Length; 0 while the head is not complete. */
static size_t reply_len(const char *reply)
{
    const char *body = strstr(reply, "\r\n\r\n");
    const char *length = strcasestr(reply, "\r\nContent-Length:");

    if (!body)
        return 0;
    if (!length || length > body)
        fail("a reply without Content-Length");
    return (size_t)(body + 4 - reply) + strtoul(length + 17, NULL, 10);
}

static void ask(SSL *ssl, const char *path)
{
    char request[512];
    int len =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);

    if (SSL_write(ssl, request, len) != len)
        fail("a request cannot be sent");
}

static void get(SSL *ssl, const char *path)
{
    char reply[REPLY_MAX + 1];
    size_t have = 0, wanted = 0;

    ask(ssl, path);
    while (have == 0 || have < wanted || wanted == 0) {
        int got = SSL_read(ssl, reply + have, (int)(REPLY_MAX - have));

        if (got <= 0)
            fail("the connection ended within a reply");
        have += (size_t)got;
        reply[have] = '\0';
        wanted = reply_len(reply);
        if (wanted > REPLY_MAX)
            fail("the reply is too long");
    }
    if (strncmp(reply, "HTTP/1.1 ", 9) != 0 || reply[9] == '5')
        fail(reply);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    const struct load *load = worker->load;
    bool is_kept = strcmp(load->mode, "keepalive") == 0;
    SSL *ssl = is_kept ? dial(load, 0) : NULL;
    int64_t begin_us = stopwatch_us();

    while (begin_us < load->end_us && worker->count < TIMES_MAX / THREADS_MAX) {
        int64_t done_us;

        if (!is_kept)
            ssl = dial(load, worker->count);
        get(ssl, load->path);
        if (!is_kept)
            hang_up(ssl);
        done_us = stopwatch_us();
        worker->times_us[worker->count++] = done_us - begin_us;
        begin_us = done_us;
    }
    if (is_kept)
        hang_up(ssl);
    return NULL;
}

static void run_threads(struct load *load, double seconds)
{
    struct worker workers[THREADS_MAX] = {0};
    int64_t *times_us = calloc(TIMES_MAX, sizeof(*times_us)), begin_us = stopwatch_us();
    size_t count = 0;

    if (!times_us)
        fail("no memory");
    load->end_us = begin_us + (int64_t)(seconds * 1e6);
    for (size_t i = 0; i < load->threads; i++) {
        workers[i].load = load;
        workers[i].times_us = times_us + i * (TIMES_MAX / THREADS_MAX);
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            fail("no thread");
    }
    for (size_t i = 0; i < load->threads; i++) {
        pthread_join(workers[i].thread, NULL);
        memmove(times_us + count, workers[i].times_us, workers[i].count * sizeof(*times_us));
        count += workers[i].count;
    }
    stopwatch_print(times_us, count, stopwatch_us() - begin_us);
    free(times_us);
}

static void run_idle(const struct load *load, size_t count)
{
    bool is_waiting = strcmp(load->mode, "wait") == 0;
    const struct rlimit many = {count + 64, count + 64};
    SSL **open = calloc(count, sizeof(SSL *));
    char nothing;

    if (!open || (setrlimit(RLIMIT_NOFILE, &many) != 0))
        fail("not so many connections are allowed to this process");
    for (size_t i = 0; i < count; i++) {
        open[i] = dial(load, i);
        if (is_waiting)
            ask(open[i], load->path);
        else
            get(open[i], load->path);
    }
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &nothing, 1) > 0) {
    }
    for (size_t i = 0; i < count; i++)
        hang_up(open[i]);
    free(open);
}

static int print_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    CLEANUP(cleanup_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        fail("no free port");
    printf("%u\n", ntohs(address.sin_port));
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct load load = {0};

    if (argc > 1 && strcmp(argv[1], "port") == 0)
        return print_port();
    if (argc != 8)
        fail("see the head of its source");
    load.mode = argv[1];
    load.port = (uint16_t)strtoul(argv[4], NULL, 10);
    load.path = argv[5];
    load.threads = strtoul(argv[6], NULL, 10);
    add_names(&load, argv[2], argv[3]);
    if (load.threads == 0 || load.threads > THREADS_MAX)
        fail("see the head of its source");
    if (strcmp(load.mode, "idle") == 0 || strcmp(load.mode, "wait") == 0)
        run_idle(&load, strtoul(argv[7], NULL, 10));
    else
        run_threads(&load, strtod(argv[7], NULL));
    for (size_t i = 0; i < load.name_count; i++)
        X509_free(load.certificates[i]);
    SSL_CTX_free(load.context);
    return EXIT_SUCCESS;
}
