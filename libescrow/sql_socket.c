/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql_socket.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

int64_t sql_socket_now_ms(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for the events, a hang-up or the deadline. */
static enum escrow_err wait_for(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = events};
        int64_t left = deadline_ms - sql_socket_now_ms();
        int count;

        if (left <= 0)
            return ESCROW_ERR_TIMEOUT;
        count = poll(&ready, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (count > 0)
            return ESCROW_OK;
        if (count < 0 && errno != EINTR)
            return ESCROW_ERR_UNAVAILABLE;
    }
}

/* 0 or the errno of a connection attempt; ETIMEDOUT also at the deadline. */
static int connect_one(int fd, const struct addrinfo *to, int64_t deadline_ms)
{
    int error = 0;
    socklen_t size = sizeof(error);
    enum escrow_err err;

    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    err = wait_for(fd, POLLOUT, deadline_ms);
    if (err == ESCROW_ERR_TIMEOUT)
        return ETIMEDOUT;
    if (err || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return EIO;
    return error;
}

static enum escrow_err result_of(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return ESCROW_ERR_DENIED;
    case ETIMEDOUT:
        return ESCROW_ERR_TIMEOUT;
    default:
        return ESCROW_ERR_UNAVAILABLE;
    }
}

static enum escrow_err dial_any(const struct addrinfo *list, int64_t deadline_ms,
                                struct sql_socket_dialled *ret_dialled, int *ret_errno)
{
    int worst = 0;

    for (const struct addrinfo *to = list; to; to = to->ai_next) {
        struct sql_socket_dialled dialled = {.fd = -1};
        int error;

        if (getnameinfo(to->ai_addr, to->ai_addrlen, dialled.numeric, sizeof(dialled.numeric), NULL,
                        0, NI_NUMERICHOST) != 0)
            continue;
        dialled.fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        error = dialled.fd < 0 ? errno : connect_one(dialled.fd, to, deadline_ms);
        if (error == 0) {
            *ret_errno = 0;
            *ret_dialled = dialled;
            return ESCROW_OK;
        }
        cleanup_close(&dialled.fd);
        /* One silent address among refusing ones is not a dead instance. */
        if (worst == 0 || worst == ECONNREFUSED)
            worst = error;
    }
    *ret_errno = worst;
    return result_of(worst);
}

enum escrow_err sql_socket_dial(const char *address, uint16_t port, int64_t deadline_ms,
                                struct sql_socket_dialled *ret_dialled, int *ret_errno)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char service[8];
    enum escrow_err err;

    *ret_errno = 0;
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(address, service, &hints, &list) != 0)
        return ESCROW_ERR_NOT_FOUND;
    err = dial_any(list, deadline_ms, ret_dialled, ret_errno);
    freeaddrinfo(list);
    return err;
}

enum escrow_err sql_socket_write(int fd, const void *bytes, size_t len, int64_t deadline_ms)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        enum escrow_err err;

        if (sent > 0) {
            at += sent;
            len -= (size_t)sent;
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return ESCROW_ERR_UNAVAILABLE;
        err = wait_for(fd, POLLOUT, deadline_ms);
        if (err)
            return err;
    }
    return ESCROW_OK;
}

enum escrow_err sql_socket_read(int fd, void *ret_bytes, size_t len, int64_t deadline_ms)
{
    char *at = ret_bytes;

    while (len > 0) {
        ssize_t got;
        /* First, so that a peer that drips bytes cannot pass the deadline. */
        enum escrow_err err = wait_for(fd, POLLIN, deadline_ms);

        if (err)
            return err;
        got = recv(fd, at, len, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return ESCROW_ERR_UNAVAILABLE;
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        }
    }
    return ESCROW_OK;
}
