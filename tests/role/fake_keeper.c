/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keeper for tests of the other roles: the real escrowd with this in place of the keeper. It
 * answers by route, and what a request's body says steers how: {"test": WORD}.
 */
#include "escrowd/ipc_body.h"
#include "escrowd/keeper.h"
#include "escrowd/role.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/log.h"

#include <jansson.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct keeper {
    struct event_base *base;
    struct role *role;
    struct ipc_channel *front;
    unsigned gone;
    int prober_fds[8];
    size_t prober_count;
    long long policy_bytes; /* of the policy that it was started with */
};

static void reply(struct keeper *keeper, uint64_t id, const struct ipc_reply *reply)
{
    if (!keeper->front || ipc_send_reply(keeper->front, id, reply) != ESCROW_OK)
        log_warning("front takes no reply");
}

static void reply_json(struct keeper *keeper, uint64_t id, const char *json)
{
    reply(keeper, id,
          &(struct ipc_reply){.http_status = 200,
                              .content = IPC_CONTENT_JSON,
                              .body = (const uint8_t *)json,
                              .body_len = strlen(json)});
}

static void reply_problem(struct keeper *keeper, uint64_t id, enum reason reason,
                          const char *detail)
{
    reply(keeper, id,
          &(struct ipc_reply){.reason = reason,
                              .http_status = (uint32_t)reason_http_status(reason),
                              .content = IPC_CONTENT_PROBLEM,
                              .body = (const uint8_t *)detail,
                              .body_len = strlen(detail)});
}

static void reply_large(struct keeper *keeper, uint64_t id, size_t len)
{
    static uint8_t body[IPC_LARGE_MAX];

    memset(body, ' ', len);
    body[0] = '{';
    body[len - 1] = '}';
    reply(keeper, id,
          &(struct ipc_reply){
              .http_status = 200, .content = IPC_CONTENT_JSON, .body = body, .body_len = len});
}

/* A first part, and in place of the rest something that can still be changed. */
static void reply_without_its_rest(struct keeper *keeper, uint64_t id)
{
    static uint8_t body[IPC_BODY_MAX];
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_reply(&writer, &(struct ipc_reply){.http_status = 200,
                                               .content = IPC_CONTENT_JSON,
                                               .body = body,
                                               .body_len = sizeof(body)});
    if (ipc_channel_send_fd(keeper->front, IPC_REPLY_LARGE, id, &writer,
                            memfd_create("rest", MFD_CLOEXEC | MFD_ALLOW_SEALING)) != ESCROW_OK)
        abort();
}

/* Who asked, as front says: identity, fingerprint, and how much of the body came. */
static void reply_echo(struct keeper *keeper, uint64_t id, const struct ipc_request *request)
{
    char fingerprint[2 * IPC_FINGERPRINT_BYTES + 1], text[1024];

    for (size_t i = 0; i < IPC_FINGERPRINT_BYTES; i++)
        snprintf(fingerprint + 2 * i, 3, "%02x", request->fingerprint[i]);
    snprintf(text, sizeof(text),
             "{\"route\": %d, \"identity\": \"%s\", \"fingerprint\": \"%s\", \"body_len\": %zu, "
             "\"wait_ms\": %llu, \"from\": %llu, \"limit\": %llu, \"gone\": %u, "
             "\"policy_bytes\": %lld}",
             (int)request->route, request->identity, fingerprint, request->body_len,
             (unsigned long long)request->wait_ms, (unsigned long long)request->from,
             (unsigned long long)request->limit, keeper->gone, keeper->policy_bytes);
    reply_json(keeper, id, text);
}

struct late {
    struct keeper *keeper;
    uint64_t id;
};

static void on_late(evutil_socket_t fd, short what, void *argument)
{
    struct late *late = argument;

    (void)fd;
    (void)what;
    reply_json(late->keeper, late->id, "{\"orders\": []}");
    free(late);
}

static void reply_later(struct keeper *keeper, uint64_t id, uint64_t ms)
{
    const struct timeval delay = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    struct late *late = malloc(sizeof(*late));

    if (!late)
        abort();
    *late = (struct late){keeper, id};
    if (event_base_once(keeper->base, -1, EV_TIMEOUT, on_late, late, &delay) < 0)
        abort();
}

static void malformed(struct keeper *keeper)
{
    if (ipc_channel_send(keeper->front, IPC_REPLY, 1, NULL) != ESCROW_OK)
        abort();
}

/* A reply to a request that front has never made. */
static void reply_to_nobody(struct keeper *keeper, uint64_t id)
{
    reply_json(keeper, id, "{}");
}

/* What belongs on another channel, or on none. */
static void say_type(struct keeper *keeper, uint32_t type)
{
    if (ipc_channel_send(keeper->front, type, 1, NULL) != ESCROW_OK)
        abort();
}

/* More replies than anybody waits for, the same one twice, and the right one among them. */
static void reply_in_a_flood(struct keeper *keeper, uint64_t id)
{
    for (int i = 0; i < 300; i++)
        reply_to_nobody(keeper, 1);
    reply_json(keeper, id, "{\"flood\": true}");
    reply_json(keeper, id, "{\"flood\": false}");
}

/* What its sandbox must refuse. */
static void try_to_open(struct keeper *keeper, uint64_t id)
{
    FILE *file = fopen("/etc/passwd", "r");

    reply_problem(keeper, id, REASON_INTERNAL, file ? "opened" : "refused");
    if (file)
        fclose(file);
}

/* What kills it. */
static void change_root(struct keeper *keeper, uint64_t id)
{
    reply_problem(keeper, id, REASON_INTERNAL, chroot("/") == 0 ? "done" : "refused");
}

static void obey(struct keeper *keeper, uint64_t id, const struct ipc_request *request,
                 const char *word)
{
    if (strcmp(word, "die") == 0)
        raise(SIGKILL);
    else if (strcmp(word, "hang") == 0)
        raise(SIGSTOP);
    else if (strcmp(word, "silent") == 0)
        log_info("no reply");
    else if (strcmp(word, "late") == 0)
        reply_later(keeper, id, 300);
    else if (strcmp(word, "malformed") == 0)
        malformed(keeper);
    else if (strcmp(word, "unknown-id") == 0)
        reply_to_nobody(keeper, id + 1000);
    else if (strcmp(word, "no-id") == 0)
        reply_to_nobody(keeper, 0);
    else if (strcmp(word, "request") == 0)
        say_type(keeper, IPC_REQUEST);
    else if (strcmp(word, "unknown-type") == 0)
        say_type(keeper, 0x7fffffff);
    else if (strcmp(word, "flood") == 0)
        reply_in_a_flood(keeper, id);
    else if (strcmp(word, "restart-front") == 0)
        role_restart_peer(keeper->role, &(struct ipc_peer){IPC_PEER_FRONT, ""});
    else if (strcmp(word, "problem") == 0)
        reply_problem(keeper, id, REASON_BRAKE, "6 releases within the hour");
    else if (strcmp(word, "large") == 0)
        reply_large(keeper, id, IPC_BODY_MAX);
    else if (strcmp(word, "largest") == 0)
        reply_large(keeper, id, IPC_LARGE_MAX);
    else if (strcmp(word, "no-rest") == 0)
        reply_without_its_rest(keeper, id);
    else if (strcmp(word, "open") == 0)
        try_to_open(keeper, id);
    else if (strcmp(word, "change-root") == 0)
        change_root(keeper, id);
    else
        reply_echo(keeper, id, request);
}

static void answer(struct keeper *keeper, uint64_t id, const struct ipc_request *request)
{
    const char *word = "";
    json_t *body;

    if (request->route == ROUTE_ORDERS) {
        reply_later(keeper, id, request->wait_ms);
        return;
    }
    if (request->route == ROUTE_HEALTH) {
        reply_json(keeper, id, "{\"ready\": true, \"reasons\": []}");
        return;
    }
    body = json_loadb((const char *)request->body, request->body_len, 0, NULL);
    if (body && json_string_value(json_object_get(body, "test")))
        word = json_string_value(json_object_get(body, "test"));
    obey(keeper, id, request, word);
    json_decref(body);
}

static enum escrow_err on_request(struct ipc_channel *channel, const struct ipc_message *message,
                                  void *argument)
{
    struct ipc_request request;
    enum escrow_err err = ipc_get_request(message, &request);

    (void)channel;
    if (!err)
        answer(argument, message->id, &request);
    return err;
}

static enum escrow_err on_large_request(struct ipc_channel *channel,
                                        const struct ipc_message *message, void *argument)
{
    CLEANUP(cleanup_free) uint8_t *body = NULL;
    struct ipc_request request;
    enum escrow_err err = ipc_get_large_request(message, &request, &body);

    (void)channel;
    if (!err)
        answer(argument, message->id, &request);
    return err;
}

static enum escrow_err on_gone(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    struct keeper *keeper = argument;

    (void)channel;
    (void)message;
    keeper->gone++;
    return ESCROW_OK;
}

/* Front's own log line says the same. */
static enum escrow_err on_refused(struct ipc_channel *channel, const struct ipc_message *message,
                                  void *argument)
{
    struct ipc_refused refused;

    (void)channel;
    (void)argument;
    return ipc_get_refused(message, &refused);
}

static enum escrow_err on_served(struct ipc_channel *channel, const struct ipc_message *message,
                                 void *argument)
{
    struct ipc_served served;

    (void)channel;
    (void)argument;
    return ipc_get_served(message, &served);
}

static const struct ipc_permit permits[] = {
    {.type = IPC_REQUEST, .states = IPC_ANY_STATE, .handler = on_request},
    {.type = IPC_REQUEST_LARGE,
     .states = IPC_ANY_STATE,
     .handler = on_large_request,
     .takes_fd = true},
    {.type = IPC_GONE, .states = IPC_ANY_STATE, .handler = on_gone},
    {.type = IPC_REFUSED, .states = IPC_ANY_STATE, .handler = on_refused},
    {.type = IPC_SERVED, .states = IPC_ANY_STATE, .handler = on_served},
};

static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct keeper *keeper = argument;

    (void)why;
    ipc_channel_free(channel);
    keeper->front = NULL;
}

static void on_peer(const struct ipc_peer *peer, int fd, void *argument)
{
    struct keeper *keeper = argument;
    const struct ipc_channel_config config = {.base = keeper->base,
                                              .name = "front",
                                              .permits = permits,
                                              .permit_count = ARRAY_LEN(permits),
                                              .state = 1,
                                              .on_close = on_close,
                                              .argument = keeper};

    if (peer->kind != IPC_PEER_FRONT) {
        if (keeper->prober_count < ARRAY_LEN(keeper->prober_fds))
            keeper->prober_fds[keeper->prober_count++] = fd;
        else
            close(fd);
        return;
    }
    ipc_channel_free(keeper->front);
    keeper->front = NULL;
    if (ipc_channel_new(&config, fd, &keeper->front) != ESCROW_OK)
        abort();
}

static void on_shutdown(void *argument)
{
    struct keeper *keeper = argument;

    event_base_loopbreak(keeper->base);
}

static const struct role_events events = {.on_peer = on_peer, .on_shutdown = on_shutdown};

enum escrow_err keeper_run(const struct escrowd_config *config, int policy_fd, int supervisor_fd)
{
    struct keeper keeper = {.base = event_base_new()};

    (void)config;
    keeper.policy_bytes = lseek(policy_fd, 0, SEEK_END);
    if (!keeper.base)
        return ESCROW_ERR_NO_MEMORY;
    if (role_new(keeper.base, supervisor_fd, &events, &keeper, &keeper.role) != ESCROW_OK ||
        role_ready(keeper.role, 0) != ESCROW_OK)
        return ESCROW_ERR_NO_MEMORY;
    role_status(keeper.role, "serves");
    event_base_dispatch(keeper.base);
    ipc_channel_free(keeper.front);
    for (size_t i = 0; i < keeper.prober_count; i++)
        close(keeper.prober_fds[i]);
    role_free(keeper.role);
    event_base_free(keeper.base);
    return ESCROW_OK;
}

enum escrow_err keeper_init(const struct escrowd_config *config)
{
    (void)config;
    return ESCROW_ERR_EXISTS;
}
