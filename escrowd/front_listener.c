/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_listener.h"

#include "libescrow/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define BACKLOG 512

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

static bool parse(const char *text, uint16_t port, union address *ret_address, socklen_t *ret_len)
{
    union address address = {0};

    if (inet_pton(AF_INET, text, &address.ipv4.sin_addr) == 1) {
        address.ipv4.sin_family = AF_INET;
        address.ipv4.sin_port = htons(port);
        *ret_len = sizeof(address.ipv4);
    } else if (inet_pton(AF_INET6, text, &address.ipv6.sin6_addr) == 1) {
        address.ipv6.sin6_family = AF_INET6;
        address.ipv6.sin6_port = htons(port);
        *ret_len = sizeof(address.ipv6);
    } else {
        return false;
    }
    *ret_address = address;
    return true;
}

static bool bind_and_listen(int fd, union address *bound, socklen_t len)
{
    const int on = 1;

    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
           bind(fd, &bound->any, len) == 0 && listen(fd, BACKLOG) == 0 &&
           getsockname(fd, &bound->any, &len) == 0;
}

enum escrow_err front_listen(const char *address, uint16_t port, int *ret_fd, uint16_t *ret_port)
{
    union address bound;
    socklen_t len;
    int fd;

    if (!parse(address, port, &bound, &len)) {
        log_error("listen: \"%s\" is neither an IPv4 nor an IPv6 address", address);
        return ESCROW_ERR_CONFIG;
    }
    fd = socket(bound.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !bind_and_listen(fd, &bound, len)) {
        log_error("cannot listen on %s, port %u: %s", address, port, strerror(errno));
        cleanup_close(&fd);
        return ESCROW_ERR_CONFIG;
    }
    *ret_port = ntohs(bound.any.sa_family == AF_INET ? bound.ipv4.sin_port : bound.ipv6.sin6_port);
    *ret_fd = fd;
    return ESCROW_OK;
}
