/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_notify.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * The exchange is the connection itself: whoever is accepted and is root or the agent's user gets
 * one byte and has been heard; the rest get end of file.
 */
#define HEARD 'k'
#define BACKLOG 16

struct agent_notify {
    int fd;
    struct event *accept;
    char *path;
    agent_notify_fn on_notify;
    void *argument;
};

static enum escrow_err address_of(const char *path, struct sockaddr_un *ret_address)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path)) {
        log_error("notify socket %s: the path is longer than %zu bytes", path,
                  sizeof(address.sun_path) - 1);
        return ESCROW_ERR_CONFIG;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    *ret_address = address;
    return ESCROW_OK;
}

static bool is_heard(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    log_warning("notify socket: user %u (process %d) is neither root nor this agent's user and "
                "was not heard",
                (unsigned)peer.uid, (int)peer.pid);
    return false;
}

static void on_accept(evutil_socket_t fd, short what, void *argument)
{
    struct agent_notify *notify = argument;
    CLEANUP(cleanup_close) int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const char heard = HEARD;

    (void)what;
    if (peer < 0 || !is_heard(peer))
        return;
    notify->on_notify(notify->argument);
    if (send(peer, &heard, 1, MSG_NOSIGNAL) != 1)
        log_debug("notify socket: the caller did not wait for the answer");
}

/* A listening socket at this address; -1 with a log line. */
static int listen_at(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat status;
    mode_t mask;
    int bound;

    if (lstat(address->sun_path, &status) == 0 && S_ISSOCK(status.st_mode))
        unlink(address->sun_path);
    mask = umask(0177);
    bound = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    umask(mask);
    if (bound != 0 || listen(fd, BACKLOG) != 0) {
        log_error("notify socket %s: %s", address->sun_path, strerror(errno));
        cleanup_close(&fd);
    }
    return fd;
}

enum escrow_err agent_notify_new(struct event_base *base, const char *path,
                                 agent_notify_fn on_notify, void *argument,
                                 struct agent_notify **ret_notify)
{
    struct agent_notify *notify = calloc(1, sizeof(*notify));
    struct sockaddr_un address;
    enum escrow_err err;

    if (!notify)
        return ESCROW_ERR_NO_MEMORY;
    notify->fd = -1;
    notify->on_notify = on_notify;
    notify->argument = argument;
    err = address_of(path, &address);
    if (!err)
        notify->fd = listen_at(&address);
    if (!err && notify->fd < 0)
        err = ESCROW_ERR_SYSTEM;
    if (!err) {
        notify->path = strdup(path);
        notify->accept = event_new(base, notify->fd, EV_READ | EV_PERSIST, on_accept, notify);
        if (!notify->path || !notify->accept || event_add(notify->accept, NULL) != 0)
            err = ESCROW_ERR_NO_MEMORY;
    }
    if (err) {
        agent_notify_free(notify);
        return err;
    }
    *ret_notify = notify;
    return ESCROW_OK;
}

void agent_notify_free(struct agent_notify *notify)
{
    if (!notify)
        return;
    if (notify->accept)
        event_free(notify->accept);
    if (notify->path)
        unlink(notify->path);
    cleanup_close(&notify->fd);
    free(notify->path);
    free(notify);
}

static enum escrow_err cannot_reach(const char *path, int number)
{
    if (number == EACCES || number == EPERM) {
        log_error("%s: %s: run this as root or as the agent's user (sudo -u escrow-agent ...)",
                  path, strerror(number));
        return ESCROW_ERR_DENIED;
    }
    log_error("no agent listens at %s: %s: is it running (systemctl status escrow-agent), and is "
              "this its notify_socket?",
              path, strerror(number));
    return ESCROW_ERR_UNAVAILABLE;
}

enum escrow_err agent_notify_send(const char *path, int timeout_ms)
{
    /* connect(2) to a listener whose backlog is full waits for this long: unix(7). */
    const struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    enum escrow_err err = address_of(path, &address);
    char heard;

    if (err)
        return err;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return cannot_reach(path, errno);
    }
    if (poll(&answer, 1, timeout_ms) != 1) {
        log_error("the agent at %s did not answer within %d ms", path, timeout_ms);
        return ESCROW_ERR_TIMEOUT;
    }
    if (recv(fd, &heard, 1, 0) != 1 || heard != HEARD) {
        log_error("the agent at %s hears only root and its own user", path);
        return ESCROW_ERR_DENIED;
    }
    return ESCROW_OK;
}
