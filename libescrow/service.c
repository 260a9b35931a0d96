/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/service.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

void service_notify(const char *lines)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP(cleanup_close) int fd = -1;
    socklen_t address_len;
    size_t len;

    if (!path || !*path)
        return;
    len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len >= sizeof(address.sun_path)) {
        log_warning("NOTIFY_SOCKET=%s is not the address of a unix socket", path);
        return;
    }
    memcpy(address.sun_path, path, len);
    /* The abstract namespace, unix(7). */
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                         address_len) < 0)
        log_warning("the service manager at %s was not told: %s", path, strerror(errno));
}
