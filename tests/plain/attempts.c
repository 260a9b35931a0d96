/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/plain/attempts.h"

#include "libescrow/cleanup.h"
#include "libescrow/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int result_of(int value)
{
    return value < 0 ? errno : 0;
}

static int nothing(const char *argument)
{
    (void)argument;
    return 0;
}

static int read_file(const char *argument)
{
    return result_of(open(argument, O_RDONLY | O_CLOEXEC));
}

static int write_file(const char *argument)
{
    return result_of(open(argument, O_WRONLY | O_CLOEXEC));
}

static int create_file(const char *argument)
{
    return result_of(open(argument, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

static int remove_file(const char *argument)
{
    return result_of(unlink(argument));
}

static int link_file(const char *argument)
{
    return result_of(symlink("/etc/passwd", argument));
}

static int connect_tcp(const char *argument)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)strtoul(argument, NULL, 10)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd < 0 ? errno
                  : result_of(connect(fd, (const struct sockaddr *)&address, sizeof(address)));
}

static int bind_tcp(const char *argument)
{
    const struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)argument;
    return fd < 0 ? errno : result_of(bind(fd, (const struct sockaddr *)&address, sizeof(address)));
}

static int listen_tcp(const char *argument)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)argument;
    return fd < 0 ? errno : result_of(listen(fd, 1));
}

/* A name that begins with @ is an abstract one. */
static int connect_unix(const char *argument)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(argument));

    if (fd < 0)
        return errno;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", argument);
    if (argument[0] == '@')
        address.sun_path[0] = 0;
    else
        len++;
    return result_of(connect(fd, (const struct sockaddr *)&address, len));
}

/* Whatever the descriptor is. */
static int connect_fd(const char *argument)
{
    const struct sockaddr address = {.sa_family = AF_UNSPEC};

    (void)argument;
    return result_of(connect(-1, &address, sizeof(address)));
}

static int own_fd(const char *argument)
{
    (void)argument;
    return result_of(fcntl(STDIN_FILENO, F_SETOWN, 1));
}

static int socket_netlink(const char *argument)
{
    (void)argument;
    return result_of(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int socket_packet(const char *argument)
{
    (void)argument;
    return result_of(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int socket_vsock(const char *argument)
{
    (void)argument;
    return result_of(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

const struct attempt attempts[] = {
    {"nothing", nothing},           {"read", read_file},         {"write", write_file},
    {"create", create_file},        {"remove", remove_file},     {"link", link_file},
    {"connect", connect_tcp},       {"bind", bind_tcp},          {"listen", listen_tcp},
    {"connect_unix", connect_unix}, {"netlink", socket_netlink}, {"packet", socket_packet},
    {"vsock", socket_vsock},        {"connect_fd", connect_fd},  {"own_fd", own_fd},
};
const size_t attempt_count = ARRAY_LEN(attempts);

static attempt_fn find(const struct attempt *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].run;
    return NULL;
}

/* NOLINTBEGIN(readability-identifier-naming) */
enum escrow_err __real_sandbox_enter_plan(const struct sandbox_plan *plan);
enum escrow_err __wrap_sandbox_enter_plan(const struct sandbox_plan *plan);
enum escrow_err __wrap_sandbox_enter_plan(const struct sandbox_plan *plan)
/* NOLINTEND(readability-identifier-naming) */
{
    const char *name = getenv(ATTEMPT_VARIABLE), *argument = getenv(ATTEMPT_ARGUMENT);
    enum escrow_err err = __real_sandbox_enter_plan(plan);
    attempt_fn run;

    if (err || !name)
        return err;
    run = find(attempts, attempt_count, name);
    if (!run)
        run = find(process_attempts, process_attempt_count, name);
    _exit(run ? ATTEMPT_OK + run(argument ? argument : "") : 0);
}
