/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/cleanup.h"
#include "libescrow/ipc.h"

#include <event2/event.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * Every message type, with and without a descriptor, to one end of a channel in one state. What may
 * arrive stands in the test, from the headers; everything else must make the owner give its peer
 * up.
 */
struct permitted {
    uint32_t type;
    bool has_fd;
    uint64_t id;
    void (*fill)(struct ipc_writer *payload); /* NULL: the payload is empty */
};

struct permits_subject {
    const char *name;
    /* Makes the owner of the channel in the state meant, on this base; fd is its end, taken. */
    void (*open)(struct event_base *base, int fd);
    /* The owner has given its peer up. */
    bool (*is_given_up)(void);
    void (*close)(void);
    const struct permitted *permitted;
    size_t count;
};

#define PERMITS_LAST_TYPE 0xfff

static inline const struct permitted *permits_find(const struct permits_subject *subject,
                                                   uint32_t type, bool has_fd)
{
    for (size_t i = 0; i < subject->count; i++) {
        if (subject->permitted[i].type == type && subject->permitted[i].has_fd == has_fd)
            return &subject->permitted[i];
    }
    return NULL;
}

static inline void permits_try(struct event_base *base, const struct permits_subject *subject,
                               uint32_t type, bool has_fd)
{
    const struct permitted *permitted = permits_find(subject, type, has_fd);
    CLEANUP(ipc_writer_deinit) struct ipc_writer payload = {0};
    struct ipc_header header = {.type = type, .id = permitted ? permitted->id : 1};
    CLEANUP(cleanup_close) int peer = -1;
    bool is_given_up;
    int fds[2];

    assert_int_equal(ipc_pair(fds), ESCROW_OK);
    peer = fds[1];
    subject->open(base, fds[0]);
    if (permitted && permitted->fill)
        permitted->fill(&payload);
    header.length = (uint32_t)payload.len;
    assert_int_equal(ipc_try_send(peer, &header, payload.bytes, has_fd ? STDERR_FILENO : -1),
                     ESCROW_OK);
    for (int i = 0; i < 5; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    is_given_up = subject->is_given_up();
    subject->close();
    if (is_given_up != (permitted == NULL))
        fail_msg("%s: message %#x %s a descriptor is %s", subject->name, type,
                 has_fd ? "with" : "without", is_given_up ? "refused" : "taken");
}

static inline void permits_exhaust(const struct permits_subject *subject)
{
    static const uint32_t huge[] = {0x1000,     0x1001,     0x10003,    0x10200,    0x01000000,
                                    0x7fffffff, 0x80000001, 0x80000204, 0xffff0101, UINT32_MAX};
    struct event_base *base = event_base_new();

    assert_non_null(base);
    for (uint32_t i = 0; i <= PERMITS_LAST_TYPE + ARRAY_LEN(huge); i++) {
        uint32_t type = i <= PERMITS_LAST_TYPE ? i : huge[i - PERMITS_LAST_TYPE - 1];

        permits_try(base, subject, type, false);
        permits_try(base, subject, type, true);
    }
    event_base_free(base);
}
