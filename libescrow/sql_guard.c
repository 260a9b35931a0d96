/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sql_guard.h"

#include "libescrow/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define FDS_MAX 1024
#define NAME_CAP 256

/* Header sizes and types: MS-TDS 2.2.3.1, RFC 5246 section 6.2.1, RFC 8446 section 5.1. */
#define TDS_HEADER 8
#define TDS_PRELOGIN 0x12
#define TLS_HEADER 5
#define TLS_CHANGE_CIPHER_SPEC 20
#define TLS_APPLICATION_DATA 23

typedef int (*getaddrinfo_fn)(const char *restrict, const char *restrict,
                              const struct addrinfo *restrict, struct addrinfo **restrict);

/* What a socket still owes of the record that the kernel took only in part. */
struct stream {
    uint64_t cookie; /* SO_COOKIE: descriptor numbers are reused */
    size_t owed;
};

/* Global because libc's functions carry no argument for it. */
static struct {
    bool is_armed;
    struct sql_guard_watch seen;
    char name[NAME_CAP];
    char address[NAME_CAP];
    struct stream streams[FDS_MAX];
} guard;

/* The size of the packet or record that starts here; 0 if it must not leave. */
static size_t allowed_size(const uint8_t *bytes, size_t len)
{
    if (len >= TDS_HEADER && bytes[0] == TDS_PRELOGIN) {
        size_t size = (size_t)bytes[2] << 8 | bytes[3];

        return size >= TDS_HEADER ? size : 0;
    }
    if (len < TLS_HEADER || bytes[0] < TLS_CHANGE_CIPHER_SPEC || bytes[0] > TLS_APPLICATION_DATA ||
        bytes[1] != 3 || bytes[2] > 3)
        return 0;
    if (bytes[0] == TLS_APPLICATION_DATA && bytes[2] != 3)
        return 0;
    return TLS_HEADER + ((size_t)bytes[3] << 8 | bytes[4]);
}

/*
 * Walks the records in bytes, of which the first `owed` belong to an older one, up to the record
 * that reaches or passes `until`. Returns where that one ends; 0 if a record must not leave.
 */
static size_t walk(const uint8_t *bytes, size_t len, size_t owed, size_t until)
{
    size_t end = owed;

    while (end < until) {
        size_t size = allowed_size(bytes + end, len - end);

        if (size == 0)
            return 0;
        end += size;
    }
    return end;
}

static bool is_tcp(int fd)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof(domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0)
        return false;
    size = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return false;
    return (domain == AF_INET || domain == AF_INET6) && type == SOCK_STREAM;
}

static struct stream *stream_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    struct stream *stream;

    if (fd >= FDS_MAX || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0)
        return NULL;
    stream = &guard.streams[fd];
    if (stream->cookie != cookie)
        *stream = (struct stream){.cookie = cookie};
    return stream;
}

ssize_t send(int fd, const void *buffer, size_t len, int flags)
{
    struct stream *stream;
    ssize_t sent;

    if (!guard.is_armed || fd < 0 || !is_tcp(fd))
        return sendto(fd, buffer, len, flags, NULL, 0);
    stream = stream_of(fd);
    if (!stream || (len > 0 && walk(buffer, len, stream->owed, len) == 0)) {
        guard.seen.has_refused = true;
        errno = EPERM;
        return -1;
    }
    guard.seen.has_passed = true;
    sent = sendto(fd, buffer, len, flags, NULL, 0);
    if (sent > 0)
        stream->owed = walk(buffer, len, stream->owed, (size_t)sent) - (size_t)sent;
    return sent;
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
    getaddrinfo_fn next = (getaddrinfo_fn)dlsym(RTLD_NEXT, "getaddrinfo");

    if (!next)
        return EAI_SYSTEM;
    if (node && guard.name[0] && strcmp(node, guard.name) == 0) {
        if (!guard.address[0])
            return EAI_NONAME;
        node = guard.address;
    }
    return next(node, service, hints, result);
}

enum escrow_err sql_guard_arm(void)
{
    /* What the dynamic linker hands to a library that is loaded later. */
    if (dlsym(RTLD_DEFAULT, "send") != (void *)send ||
        dlsym(RTLD_DEFAULT, "getaddrinfo") != (void *)getaddrinfo) {
        log_error("sql: this executable does not export send and getaddrinfo; link escrow_sql");
        return ESCROW_ERR_SYSTEM;
    }
    guard.is_armed = true;
    return ESCROW_OK;
}

enum escrow_err sql_guard_map(const char *name, const char *numeric_address)
{
    if (strlen(name) >= sizeof(guard.name) || strlen(numeric_address) >= sizeof(guard.address))
        return ESCROW_ERR_CONFIG;
    snprintf(guard.name, sizeof(guard.name), "%s", name);
    snprintf(guard.address, sizeof(guard.address), "%s", numeric_address);
    return ESCROW_OK;
}

void sql_guard_watch(void)
{
    guard.seen = (struct sql_guard_watch){0};
}

struct sql_guard_watch sql_guard_seen(void)
{
    return guard.seen;
}
