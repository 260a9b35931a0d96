/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/ipc_messages.h"

#include <event2/event.h>

#include <stdbool.h>

/*
 * A role's end of its channel to the supervisor, for roles with an event loop (all but probers):
 * answers pings, hands on the channels to other roles, and says when the role is ready. A role
 * whose supervisor is gone, or says what it must not, leaves its loop: it never runs on alone.
 */

struct role;

struct role_events {
    /*
     * The channel to another role; fd is the handler's. Comes again whenever that role was
     * restarted: the new channel replaces the old one of the same kind and instance.
     */
    void (*on_peer)(const struct ipc_peer *peer, int fd, void *argument);
    /* Finish what is in flight, then leave the loop; the supervisor kills after its deadline. */
    void (*on_shutdown)(void *argument);
    /*
     * New credentials (fd is the handler's): role_reloaded follows. NULL: the role has none.
     */
    void (*on_reload)(int fd, void *argument);
};

/* Takes fd. events must outlive the role. */
MUST_CHECK enum escrow_err role_new(struct event_base *base, int fd,
                                    const struct role_events *events, void *argument,
                                    struct role **ret_role);
void role_free(struct role *role);
CLEANUP_FUNCTION(role_free_p, struct role, role_free)

/* Once, when the role can do its work. port: what front listens on, else 0. */
MUST_CHECK enum escrow_err role_ready(struct role *role, uint16_t port);
/*
 * Front only: whether the credentials of the last on_reload are in use now. False: the supervisor
 * was not told, and waits.
 */
MUST_CHECK bool role_reloaded(struct role *role, bool is_taken);
/* One line for the service manager: what keeps escrowd from serving, or that it serves. False: it
 * was not sent. */
bool role_status(struct role *role, const char *text);
/*
 * Keeper only: a prober or alerter that is overdue, or a peer that sent what it must not (on_close
 * of its channel says so), is killed and started again.
 */
void role_restart_peer(struct role *role, const struct ipc_peer *peer);
/* True if the loop was left because the supervisor is gone. */
bool role_is_orphaned(const struct role *role);
