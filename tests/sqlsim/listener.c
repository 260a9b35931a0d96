/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/log.h"
#include "tests/sqlsim/connection.h"
#include "tests/sqlsim/simulator.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128

/* The address goes where the primary is; without one nobody has it. */
static void on_accept(struct evconnlistener *evlistener, evutil_socket_t fd,
                      struct sockaddr *address, int len, void *argument)
{
    struct listener *listener = argument;
    struct simulator *simulator = listener->simulator;
    const struct model_group *group = &simulator->model.groups[listener->group];
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    (void)evlistener;
    (void)address;
    (void)len;
    simulator_advance(simulator);
    if (group->primary == MODEL_NONE || !simulator->model.instances[group->primary].is_alive) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        close(fd);
        return;
    }
    connection_new(&simulator->instances[group->primary], fd, group);
}

enum escrow_err listener_open(struct listener *listener)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(listener->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t len = sizeof(address);

    listener->events =
        evconnlistener_new_bind(listener->simulator->base, on_accept, listener,
                                LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
                                BACKLOG, (struct sockaddr *)&address, sizeof(address));
    if (!listener->events ||
        getsockname(evconnlistener_get_fd(listener->events), (struct sockaddr *)&address, &len)) {
        log_error("port %u: %s", listener->port, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    listener->port = ntohs(address.sin_port);
    return ESCROW_OK;
}

void listener_close(struct listener *listener)
{
    if (listener->events)
        evconnlistener_free(listener->events);
}
