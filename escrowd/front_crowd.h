/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/identity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * Who has a place among the open connections, and who gives way to the next one.
 *
 * Strangers are those that have made no request with a verified certificate yet. They stand in a
 * list of their own as well: a thousand idle connections of known clients are never looked at to
 * find the one that gives way, which is asked at every accept and every end.
 *
 * It knows nothing of TLS or HTTP, closes nothing, and allocates nothing: a member is part of the
 * connection that it stands for.
 */

struct front_connection;

struct front_member {
    TAILQ_ENTRY(front_member) open, strangers;
    struct front_connection *connection; /* that it stands for; its maker sets it */
    char identity[IDENTITY_MAX + 1];     /* "": none yet; read only */
    int64_t since_ms;                    /* when it came, as front_crowd_enter was told */
    bool is_open;                        /* it has a place */
    bool is_stranger;                    /* it may be asked to give way as one */
    bool is_leaving; /* it has its place until front_crowd_remove, and no more */
};

TAILQ_HEAD(front_member_list, front_member);

struct front_crowd {
    struct front_member_list open;      /* the newest first */
    struct front_member_list strangers; /* of these; the newest first */
    size_t count;                       /* of open */
};

void front_crowd_init(struct front_crowd *crowd);

/* A stranger takes a place. */
void front_crowd_enter(struct front_crowd *crowd, struct front_member *member, int64_t now_ms);
/* It is a client that is known from now on. */
void front_crowd_identify(struct front_crowd *crowd, struct front_member *member,
                          const char *identity);
/* It was told to end: nobody's choice any more. Also of one that never came. */
void front_crowd_leave(struct front_crowd *crowd, struct front_member *member);
/* Its place is free. Also of one that never came. */
void front_crowd_remove(struct front_crowd *crowd, struct front_member *member);

/* Who gives way to a newcomer; NULL: nobody. Takes as long with many members as with few. */
struct front_member *front_crowd_oldest_stranger(const struct front_crowd *crowd);

/* How many of this identity there are, and the oldest of them for which may_end is true, or NULL.
 */
size_t front_crowd_of(const struct front_crowd *crowd, const char *identity,
                      bool (*may_end)(const struct front_member *member),
                      struct front_member **ret_oldest);
