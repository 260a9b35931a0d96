/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/log.h"
#include "tests/sqlsim/connection.h"
#include "tests/sqlsim/simulator.h"
#include "tests/sqlsim/tds_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *argument)
{
    (void)listener;
    (void)address;
    (void)len;
    connection_new(argument, fd, NULL);
}

struct sockaddr_in instance_address(const struct instance *instance)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(instance->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

/* The process is in the network namespace of that file from now on. */
static bool enter_network(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool has_entered = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;

    if (fd >= 0)
        close(fd);
    return has_entered;
}

static int new_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A socket is where it was made, and so is what it accepts. */
static int new_socket_in(const char *network)
{
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd = -1;

    if (own < 0)
        return -1;
    if (enter_network(network)) {
        fd = new_socket();
        if (setns(own, CLONE_NEWNET))
            abort();
    }
    close(own);
    return fd;
}

/* A socket bound to the instance's port, shared with others of this process, or -1. */
static int bind_port(const struct instance *instance)
{
    struct sockaddr_in address = instance_address(instance);
    int fd = instance->network ? new_socket_in(instance->network) : new_socket();
    int on = 1;

    if (fd < 0)
        return -1;
    /* A namespace of its own is the host of this instance alone. */
    if (instance->network)
        address.sin_addr.s_addr = htonl(INADDR_ANY);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) ||
        bind(fd, (struct sockaddr *)&address, sizeof(address))) {
        close(fd);
        return -1;
    }
    return fd;
}

static enum escrow_err reserve_port(struct instance *instance)
{
    struct sockaddr_in address = {0};
    socklen_t len = sizeof(address);

    instance->reserved_fd = bind_port(instance);
    if (instance->reserved_fd < 0 ||
        getsockname(instance->reserved_fd, (struct sockaddr *)&address, &len)) {
        log_error("port %u: %s", instance->port, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    instance->port = ntohs(address.sin_port);
    return ESCROW_OK;
}

enum escrow_err instance_start(struct instance *instance)
{
    int fd;

    if (instance->listener)
        return ESCROW_OK;
    fd = bind_port(instance);
    if (fd < 0) {
        log_error("port %u: %s", instance->port, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    instance->listener =
        evconnlistener_new(instance->simulator->base, on_accept, instance,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
    if (!instance->listener) {
        close(fd);
        return ESCROW_ERR_SYSTEM;
    }
    return ESCROW_OK;
}

enum escrow_err instance_open(struct instance *instance)
{
    enum escrow_err err = tds_tls_context(instance->certificate_file, instance->key_file,
                                          instance->tls_max, &instance->tls);

    if (!err)
        err = reserve_port(instance);
    if (!err)
        err = instance_start(instance);
    return err;
}

void instance_kill(struct instance *instance)
{
    struct connection *connection;

    if (instance->listener)
        evconnlistener_free(instance->listener);
    instance->listener = NULL;
    while ((connection = LIST_FIRST(&instance->connections)))
        connection_free(connection, true);
}

void instance_close(struct instance *instance)
{
    instance_kill(instance);
    if (instance->reserved_fd >= 0)
        close(instance->reserved_fd);
    SSL_CTX_free(instance->tls);
    journal_deinit(&instance->journal);
    troubles_deinit(&instance->troubles);
    free(instance->certificate_file);
    free(instance->key_file);
    free(instance->keytab);
    free(instance->network);
}

void instance_hang(struct instance *instance)
{
    struct connection *connection = LIST_FIRST(&instance->connections);

    for (; connection; connection = connection_next(connection))
        connection_hang(connection);
}

void instance_retry(struct instance *instance)
{
    struct connection *connection = LIST_FIRST(&instance->connections), *next;

    /* This comes after every batch, of hundreds of connections. */
    for (; connection && instance->waiting > 0; connection = next) {
        next = connection_next(connection);
        connection_retry(connection);
    }
}

void instance_resume(struct instance *instance)
{
    struct connection *connection = LIST_FIRST(&instance->connections);

    for (; connection; connection = connection_next(connection))
        connection_resume(connection);
}
