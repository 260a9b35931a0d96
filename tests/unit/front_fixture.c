/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/front_fixture.h"

#include "escrowd/credentials.h"
#include "escrowd/front.h"
#include "escrowd/front_listener.h"
#include "escrowd/sandbox.h"
#include "libescrow/ipc.h"
#include "libescrow/key.h"
#include "libescrow/log.h"
#include "libescrow/secret.h"
#include "tests/unit/certificates.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DOMAIN "spiffe://corp.example/"
#define DAY_S (24L * 3600)
#define POLLED_MAX 66

#define OK(call)                                                                                   \
    do {                                                                                           \
        enum escrow_err result_ = (call);                                                          \
                                                                                                   \
        if (result_ != ESCROW_OK)                                                                  \
            ff_fail(#call, escrow_err_name(result_));                                              \
    } while (0)

const char ff_get[] = "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
const char ff_wait[] = "GET /v1/orders?wait=1 HTTP/1.1\r\nHost: x\r\n\r\n";
const char ff_post[] =
    "POST /v1/challenge HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    "Content-Length: 2\r\n\r\n{}";

/* NOLINTBEGIN(readability-identifier-naming) */
enum escrow_err __wrap_sandbox_enter(enum ipc_peer_kind kind, const struct escrowd_config *config,
                                     const char *instance);
enum escrow_err __wrap_sandbox_enter(enum ipc_peer_kind kind, const struct escrowd_config *config,
                                     const char *instance)
/* NOLINTEND(readability-identifier-naming) */
{
    (void)kind;
    (void)config;
    (void)instance;
    return ESCROW_OK;
}

void ff_fail(const char *what, const char *why)
{
    fprintf(stderr, "fixture: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- certificates ---- */

static SSL_CTX *client_context(const struct authority *authority, EVP_PKEY *key, X509 *certificate)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_use_certificate(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context, key) != 1 ||
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority->certificate) != 1)
        ff_fail("a client's certificate", "cannot be used");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return context;
}

static const char *path_of(struct front_fixture *fx, int index, const char *name)
{
    snprintf(fx->paths[index], sizeof(fx->paths[index]), "%.200s/%.40s", fx->folder, name);
    return fx->paths[index];
}

static void make_clients(struct front_fixture *fx, const struct authority *authority, EVP_PKEY *key)
{
    static const char *const names[FF_WHO] = {"URI:" DOMAIN "agent", "URI:" DOMAIN "other",
                                              "URI:" DOMAIN "revoked", "URI:" DOMAIN "agent"};
    struct authority unknown = authority_new("authority");

    for (int who = 0; who < FF_WHO; who++) {
        const struct leaf leaf = {.san = names[who], .eku = "clientAuth"};
        X509 *certificate = certificate_new(who == FF_STRANGER ? &unknown : authority, key, &leaf);

        fx->contexts[who] = client_context(authority, key, certificate);
        if (who == FF_REVOKED) {
            X509_CRL *list = revocation_list_new(
                authority,
                &(struct revocation){.revoked = certificate, .updated_s = -60, .next_s = DAY_S});

            write_list(fx->config.tls.crl_file, list);
            X509_CRL_free(list);
        }
        X509_free(certificate);
    }
    authority_deinit(&unknown);
}

static void make_files(struct front_fixture *fx)
{
    const struct leaf leaf = {.san = "URI:" DOMAIN "escrowd", .eku = "serverAuth"};
    struct authority authority = authority_new("authority");
    EVP_PKEY *key = key_generate();
    X509 *certificate = certificate_new(&authority, key, &leaf);

    write_certificate(fx->config.tls.ca_file, authority.certificate);
    write_certificate(fx->config.tls.certificate_file, certificate);
    OK(key_write_private(key, fx->config.tls.key_file));
    make_clients(fx, &authority, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    authority_deinit(&authority);
}

/* ---- front's process and its channels ---- */

static void lose(struct front_fixture *fx)
{
    cleanup_close(&fx->supervisor_fd);
    cleanup_close(&fx->keeper_fd);
    if (waitpid(fx->pid, &fx->exit_status, 0) != fx->pid)
        ff_fail("waitpid", strerror(errno));
    fx->pid = 0;
}

static void from_front(struct front_fixture *fx)
{
    struct ipc_message message;
    enum escrow_err err = ipc_try_receive(fx->supervisor_fd, fx->buffer, &message);

    if (err == ESCROW_ERR_UNAVAILABLE) {
        lose(fx);
        return;
    }
    OK(err);
    fx->is_ready = fx->is_ready || message.type == IPC_READY;
    fx->reloads += message.type == IPC_RELOADED;
    if (message.type == IPC_PONG)
        fx->last_pong = message.id;
}

static void answer(struct front_fixture *fx, uint64_t id)
{
    static const char body[] = "{\"ready\":true}";
    const struct ipc_reply reply = {.http_status = 200,
                                    .content = IPC_CONTENT_JSON,
                                    .body = (const uint8_t *)body,
                                    .body_len = sizeof(body) - 1};
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_reply(&writer, &reply);
    if (ipc_send(fx->keeper_fd, IPC_REPLY, id, &writer, FF_DEADLINE_MS) != ESCROW_OK)
        cleanup_close(&fx->keeper_fd);
}

static void note_refused(struct front_fixture *fx, const struct ipc_message *message)
{
    struct ipc_refused refused;

    OK(ipc_get_refused(message, &refused));
    fx->refused += refused.count;
    if (refused.reason == REASON_OVERLOADED)
        fx->overloaded += refused.count;
}

static void to_keeper(struct front_fixture *fx)
{
    struct ipc_message message;
    struct ipc_request request;
    enum escrow_err err = ipc_try_receive(fx->keeper_fd, fx->buffer, &message);

    if (err == ESCROW_ERR_UNAVAILABLE) {
        cleanup_close(&fx->keeper_fd);
        return;
    }
    OK(err);
    if (message.type == IPC_REFUSED)
        note_refused(fx, &message);
    if (message.type != IPC_REQUEST)
        return;
    OK(ipc_get_request(&message, &request));
    fx->requests++;
    if (strcmp(request.identity, DOMAIN "agent") != 0 &&
        strcmp(request.identity, DOMAIN "other") != 0)
        fx->is_foreign = true;
    if (!fx->is_mute)
        answer(fx, message.id);
}

static void pass(struct front_fixture *fx, uint32_t type, const struct ipc_writer *payload, int fd)
{
    const struct ipc_header header = {.type = type, .length = payload ? (uint32_t)payload->len : 0};
    enum escrow_err err =
        ipc_try_send(fx->supervisor_fd, &header, payload ? payload->bytes : NULL, fd);

    if (err != ESCROW_ERR_UNAVAILABLE)
        OK(err);
}

void ff_attach_keeper(struct front_fixture *fx)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    int fds[2];

    cleanup_close(&fx->keeper_fd);
    OK(ipc_pair(fds));
    ipc_put_peer(&writer, &(struct ipc_peer){IPC_PEER_KEEPER, ""});
    pass(fx, IPC_PEER, &writer, fds[1]);
    close(fds[1]);
    fx->keeper_fd = fds[0];
}

void ff_reload(struct front_fixture *fx)
{
    int fd;

    OK(credentials_seal(&fx->config.tls, &fd));
    pass(fx, IPC_RELOAD, NULL, fd);
    close(fd);
}

void ff_ping(struct front_fixture *fx, uint64_t id)
{
    if (ipc_send(fx->supervisor_fd, IPC_PING, id, NULL, FF_DEADLINE_MS) != ESCROW_OK)
        lose(fx);
    while (fx->pid && fx->last_pong != id)
        ff_turn(fx, NULL, 0, FF_DEADLINE_MS);
}

__attribute__((noreturn)) static void be_front(struct front_fixture *fx, int supervisor,
                                               int credentials)
{
    struct front_descriptors descriptors = {.supervisor = supervisor,
                                            .listener = fcntl(fx->listener_fd, F_DUPFD_CLOEXEC, 0),
                                            .credentials = credentials,
                                            .monitor = -1};
    enum escrow_err err;

    signal(SIGSEGV, SIG_DFL); /* cmocka's handler would go on with the tests */
    for (int who = 0; who < FF_WHO; who++)
        SSL_CTX_free(fx->contexts[who]);
    ipc_buffer_free(fx->buffer);
    close(fx->listener_fd);
    if (fx->options.in_front)
        fx->options.in_front();
    err = front_run(&fx->config, &descriptors);
    exit(escrow_err_exit_code(err));
}

bool ff_run(struct front_fixture *fx)
{
    int fds[2], credentials;

    OK(ipc_pair(fds));
    OK(credentials_seal(&fx->config.tls, &credentials));
    fx->is_ready = false;
    fx->pid = fork();
    if (fx->pid < 0)
        ff_fail("fork", strerror(errno));
    if (fx->pid == 0) {
        close(fds[0]);
        be_front(fx, fds[1], credentials);
    }
    close(fds[1]);
    close(credentials);
    fx->supervisor_fd = fds[0];
    ff_attach_keeper(fx);
    while (fx->pid && !fx->is_ready)
        ff_turn(fx, NULL, 0, FF_DEADLINE_MS);
    return fx->pid != 0;
}

void ff_shut_down(struct front_fixture *fx)
{
    const int64_t until_ms = now_ms() + FF_DEADLINE_MS;

    if (ipc_send(fx->supervisor_fd, IPC_SHUTDOWN, 0, NULL, FF_DEADLINE_MS) != ESCROW_OK)
        lose(fx);
    while (fx->pid) {
        if (now_ms() > until_ms)
            ff_fail("front", "does not end");
        ff_turn(fx, NULL, 0, FF_DEADLINE_MS);
    }
}

void ff_start(struct front_fixture *fx, const struct ff_options *options)
{
    const char *folder = getenv("TMPDIR");

    memset(fx, 0, sizeof(*fx));
    fx->options = *options;
    fx->supervisor_fd = fx->keeper_fd = -1;
    log_init("front", getenv("ESCROW_TEST_VERBOSE") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    OK(secret_heap_init());
    signal(SIGPIPE, SIG_IGN);
    snprintf(fx->folder, sizeof(fx->folder), "%.200s/front.XXXXXX", folder ? folder : "/tmp");
    if (!mkdtemp(fx->folder))
        ff_fail(fx->folder, strerror(errno));
    fx->config = (struct escrowd_config){
        .tls = {.ca_file = path_of(fx, 0, "ca"),
                .crl_file = path_of(fx, 1, "crl"),
                .certificate_file = path_of(fx, 2, "server"),
                .key_file = path_of(fx, 3, "key")},
        .limits = {.connections = 64,
                   .connections_per_identity = 48,
                   .requests = 64,
                   .request_ms = options->request_ms,
                   .shutdown_ms = 5000,
                   .ping_ms = 60000},
    };
    make_files(fx);
    fx->buffer = ipc_buffer_new();
    OK(front_listen("127.0.0.1", 0, &fx->listener_fd, &fx->port));
    if (!fx->buffer || !ff_run(fx))
        ff_fail("front", "did not start");
}

void ff_stop(struct front_fixture *fx)
{
    if (fx->pid)
        ff_shut_down(fx);
    for (int i = 0; i < 4; i++)
        unlink(fx->paths[i]);
    rmdir(fx->folder);
    for (int who = 0; who < FF_WHO; who++)
        SSL_CTX_free(fx->contexts[who]);
    ipc_buffer_free(fx->buffer);
    close(fx->listener_fd);
}

unsigned ff_descriptors(const struct front_fixture *fx)
{
    char path[64];
    unsigned count = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)fx->pid);
    folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

/* ---- clients ---- */

void ff_ask(struct ff_client *client, const char *request)
{
    client->request = request;
    client->len = 0;
    client->reply[0] = '\0';
}

int ff_status(const struct ff_client *client)
{
    const char *body = strstr(client->reply, "\r\n\r\n");
    const char *length = strcasestr(client->reply, "\r\nContent-Length: ");

    if (!body || !length || strncmp(client->reply, "HTTP/1.1 ", 9) != 0 ||
        strlen(body + 4) < strtoul(length + 18, NULL, 10))
        return 0;
    return (int)strtol(client->reply + 9, NULL, 10);
}

void ff_hang_up(struct ff_client *client)
{
    SSL_free(client->ssl);
    cleanup_close(&client->fd);
    client->ssl = NULL;
    client->is_over = true;
}

/* Records of TLS and nothing else (RFC 8446, 5.1). */
static void look_at(struct ff_client *client, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (client->record_left > 0) {
            client->record_left--;
            continue;
        }
        client->head[client->head_len++] = bytes[i];
        if (client->head_len < sizeof(client->head))
            continue;
        client->head_len = 0;
        client->records++;
        client->record_left = (size_t)client->head[3] << 8 | client->head[4];
        if (client->head[0] < 20 || client->head[0] > 23 || client->head[1] != 3)
            client->is_plain = true;
    }
}

static void take_in(struct ff_client *client)
{
    uint8_t bytes[4096];
    ssize_t got;

    while ((got = recv(client->fd, bytes, sizeof(bytes), 0)) > 0) {
        look_at(client, bytes, (size_t)got);
        if (BIO_write(client->in, bytes, (int)got) != got)
            ff_fail("a client", "no memory");
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        client->is_over = true;
}

static void let_out(struct ff_client *client)
{
    uint8_t bytes[16384];
    int len;

    while ((len = BIO_read(client->out, bytes, sizeof(bytes))) > 0) {
        if (send(client->fd, bytes, (size_t)len, MSG_NOSIGNAL) != len)
            client->is_over = true;
    }
}

void ff_connect(struct front_fixture *fx, struct ff_client *client, enum ff_who who,
                const char *from)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    *client = (struct ff_client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (from && (inet_pton(AF_INET, from, &address.sin_addr) != 1 ||
                 bind(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0))
        ff_fail(from, strerror(errno));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(fx->port);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        fcntl(client->fd, F_SETFL, O_NONBLOCK) < 0)
        ff_fail("connect", strerror(errno));
    client->ssl = SSL_new(fx->contexts[who]);
    client->in = BIO_new(BIO_s_mem());
    client->out = BIO_new(BIO_s_mem());
    if (!client->ssl || !client->in || !client->out)
        ff_fail("a client", "no memory");
    BIO_set_mem_eof_return(client->in, -1);
    SSL_set_bio(client->ssl, client->in, client->out);
    SSL_set_connect_state(client->ssl);
}

void ff_greet(struct ff_client *client)
{
    (void)SSL_do_handshake(client->ssl);
    let_out(client);
}

void ff_dial(struct front_fixture *fx, struct ff_client *client, enum ff_who who, const char *from)
{
    ff_connect(fx, client, who, from);
    ff_greet(client);
}

static void talk(struct ff_client *client)
{
    int room = (int)(sizeof(client->reply) - 1 - client->len), got = 0;

    if (!SSL_is_init_finished(client->ssl) && SSL_do_handshake(client->ssl) != 1)
        return;
    if (client->request) {
        if (SSL_write(client->ssl, client->request, (int)strlen(client->request)) <= 0)
            client->is_over = true;
        client->request = NULL;
    }
    got = room > 0 ? SSL_read(client->ssl, client->reply + client->len, room) : 0;
    if (got > 0)
        client->len += (size_t)got;
    client->reply[client->len] = '\0';
}

static void serve_client(struct ff_client *client)
{
    if (client->is_over)
        return;
    take_in(client);
    ERR_clear_error();
    talk(client);
    let_out(client);
}

void ff_turn(struct front_fixture *fx, struct ff_client *clients, size_t count, int timeout_ms)
{
    struct pollfd polled[POLLED_MAX] = {{.fd = fx->supervisor_fd, .events = POLLIN},
                                        {.fd = fx->keeper_fd, .events = POLLIN}};

    for (size_t i = 0; i < count; i++) {
        bool has_news =
            !clients[i].is_over && clients[i].request && SSL_is_init_finished(clients[i].ssl);

        polled[2 + i] =
            (struct pollfd){.fd = clients[i].is_over ? -1 : clients[i].fd, .events = POLLIN};
        if (has_news)
            timeout_ms = 0;
    }
    if (poll(polled, 2 + count, timeout_ms) < 0 && errno != EINTR)
        ff_fail("poll", strerror(errno));
    if (polled[1].revents && fx->keeper_fd >= 0)
        to_keeper(fx);
    if (polled[0].revents && fx->supervisor_fd >= 0)
        from_front(fx);
    for (size_t i = 0; i < count; i++)
        serve_client(&clients[i]);
}

bool ff_finish(struct front_fixture *fx, struct ff_client *clients, size_t count, int timeout_ms)
{
    const int64_t until_ms = now_ms() + timeout_ms;

    for (;;) {
        int64_t left_ms = until_ms - now_ms();
        size_t done = 0;

        for (size_t i = 0; i < count; i++)
            done += clients[i].is_over || ff_status(&clients[i]) != 0;
        if (done == count)
            return true;
        if (left_ms <= 0 || !fx->pid)
            return false;
        ff_turn(fx, clients, count, (int)left_ms);
    }
}
