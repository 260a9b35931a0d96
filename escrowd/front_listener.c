/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_listener.h"

#include "libescrow/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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

static bool find_group(const char *name, gid_t *ret_group)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    const struct group *entry;

    if (name[0] >= '0' && name[0] <= '9' && *end == 0 && number < UINT32_MAX) {
        *ret_group = (gid_t)number;
        return true;
    }
    entry = getgrnam(name);
    if (!entry) {
        log_error("there is no group %s", name);
        return false;
    }
    *ret_group = entry->gr_gid;
    return true;
}

static bool bind_local(int fd, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    mode_t mask;
    bool is_bound;

    memcpy(address.sun_path, path, strlen(path));
    /* Of an escrowd that was killed: nobody can connect to it any more. */
    if (lstat(path, &status) == 0 && S_ISSOCK(status.st_mode) && unlink(path) < 0)
        return false;
    mask = umask(0177);
    is_bound = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    umask(mask);
    return is_bound && listen(fd, BACKLOG) == 0;
}

enum escrow_err front_listen_local(const char *path, const char *group, int *ret_fd)
{
    gid_t owner;
    int fd;

    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        log_error("%s: the path is too long for a socket", path);
        return ESCROW_ERR_CONFIG;
    }
    if (group && !find_group(group, &owner))
        return ESCROW_ERR_CONFIG;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !bind_local(fd, path) ||
        (group && (chown(path, (uid_t)-1, owner) < 0 || chmod(path, 0660) < 0))) {
        log_error("cannot listen on %s: %s", path, strerror(errno));
        cleanup_close(&fd);
        return ESCROW_ERR_CONFIG;
    }
    *ret_fd = fd;
    return ESCROW_OK;
}
