/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/ipc.h"

#include "libescrow/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WRITER_FIRST_CAP 512

_Static_assert(sizeof(struct ipc_header) == 16, "the header has no padding");

struct ipc_buffer {
    struct ipc_header header;
    uint8_t payload[IPC_PAYLOAD_MAX];
};

/* ---- payloads ---- */

void ipc_writer_deinit(struct ipc_writer *writer)
{
    free(writer->bytes);
    *writer = (struct ipc_writer){0};
}

static bool writer_reserve(struct ipc_writer *writer, size_t more)
{
    size_t cap = writer->cap ? writer->cap : WRITER_FIRST_CAP;
    uint8_t *bytes;

    if (writer->err)
        return false;
    if (more > IPC_PAYLOAD_MAX - writer->len) {
        writer->err = ESCROW_ERR_MALFORMED;
        return false;
    }
    if (writer->len + more <= writer->cap)
        return true;
    while (cap < writer->len + more)
        cap *= 2;
    bytes = realloc(writer->bytes, cap);
    if (!bytes) {
        writer->err = ESCROW_ERR_NO_MEMORY;
        return false;
    }
    writer->bytes = bytes;
    writer->cap = cap;
    return true;
}

static void put(struct ipc_writer *writer, const void *bytes, size_t len)
{
    if (len == 0 || !writer_reserve(writer, len))
        return;
    memcpy(writer->bytes + writer->len, bytes, len);
    writer->len += len;
}

void ipc_put_u8(struct ipc_writer *writer, uint8_t value)
{
    put(writer, &value, sizeof(value));
}

void ipc_put_u32(struct ipc_writer *writer, uint32_t value)
{
    put(writer, &value, sizeof(value));
}

void ipc_put_u64(struct ipc_writer *writer, uint64_t value)
{
    put(writer, &value, sizeof(value));
}

void ipc_put_i32(struct ipc_writer *writer, int32_t value)
{
    put(writer, &value, sizeof(value));
}

void ipc_put_i64(struct ipc_writer *writer, int64_t value)
{
    put(writer, &value, sizeof(value));
}

void ipc_put_bool(struct ipc_writer *writer, bool value)
{
    ipc_put_u8(writer, value ? 1 : 0);
}

void ipc_put_bytes(struct ipc_writer *writer, const void *bytes, size_t len)
{
    if (len > IPC_PAYLOAD_MAX) {
        writer->err = writer->err ? writer->err : ESCROW_ERR_MALFORMED;
        return;
    }
    ipc_put_u32(writer, (uint32_t)len);
    put(writer, bytes, len);
}

void ipc_put_string(struct ipc_writer *writer, const char *text)
{
    const char *sent = text ? text : "";

    ipc_put_bytes(writer, sent, strlen(sent) + 1);
}

void ipc_reader_init(struct ipc_reader *reader, const struct ipc_message *message)
{
    *reader = (struct ipc_reader){.bytes = message->payload, .len = message->len};
}

void ipc_get_fixed(struct ipc_reader *reader, void *ret_bytes, size_t len)
{
    memset(ret_bytes, 0, len);
    if (reader->is_bad || len > reader->len - reader->used) {
        reader->is_bad = true;
        return;
    }
    memcpy(ret_bytes, reader->bytes + reader->used, len);
    reader->used += len;
}

uint8_t ipc_get_u8(struct ipc_reader *reader)
{
    uint8_t value;

    ipc_get_fixed(reader, &value, sizeof(value));
    return value;
}

uint32_t ipc_get_u32(struct ipc_reader *reader)
{
    uint32_t value;

    ipc_get_fixed(reader, &value, sizeof(value));
    return value;
}

uint64_t ipc_get_u64(struct ipc_reader *reader)
{
    uint64_t value;

    ipc_get_fixed(reader, &value, sizeof(value));
    return value;
}

int32_t ipc_get_i32(struct ipc_reader *reader)
{
    int32_t value;

    ipc_get_fixed(reader, &value, sizeof(value));
    return value;
}

int64_t ipc_get_i64(struct ipc_reader *reader)
{
    int64_t value;

    ipc_get_fixed(reader, &value, sizeof(value));
    return value;
}

bool ipc_get_bool(struct ipc_reader *reader)
{
    uint8_t value = ipc_get_u8(reader);

    if (value > 1)
        reader->is_bad = true;
    return value == 1;
}

uint32_t ipc_get_enum(struct ipc_reader *reader, uint32_t first, uint32_t last)
{
    uint32_t value = ipc_get_u32(reader);

    if (reader->is_bad || value < first || value > last) {
        reader->is_bad = true;
        return 0;
    }
    return value;
}

const uint8_t *ipc_get_bytes(struct ipc_reader *reader, size_t max, size_t *ret_len)
{
    static const uint8_t nothing[1] = {0};
    size_t len = ipc_get_u32(reader);
    const uint8_t *bytes;

    *ret_len = 0;
    if (reader->is_bad || len > max || len > reader->len - reader->used) {
        reader->is_bad = true;
        return nothing;
    }
    if (len == 0)
        return nothing;
    bytes = reader->bytes + reader->used;
    reader->used += len;
    *ret_len = len;
    return bytes;
}

const char *ipc_get_string(struct ipc_reader *reader, size_t max)
{
    size_t len;
    const uint8_t *bytes = ipc_get_bytes(reader, max + 1, &len);

    if (len == 0 || memchr(bytes, 0, len) != bytes + len - 1) {
        reader->is_bad = true;
        return "";
    }
    return (const char *)bytes;
}

enum escrow_err ipc_reader_end(const struct ipc_reader *reader)
{
    return reader->is_bad || reader->used != reader->len ? ESCROW_ERR_MALFORMED : ESCROW_OK;
}

/* ---- packets ---- */

enum escrow_err ipc_pair(int ret_fds[static 2])
{
    int fds[2], size = 0;
    socklen_t len = sizeof(size);

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        log_error("socketpair: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    for (int i = 0; i < 2; i++) {
        /* A packet larger than the send buffer less 32 bytes is refused with EMSGSIZE (unix(7)). */
        const int wanted = (int)(2 * IPC_PAYLOAD_MAX);

        if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted)) < 0 ||
            getsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, &len) < 0 ||
            (size_t)size < IPC_PAYLOAD_MAX + 4096) {
            log_error("send buffer of %d bytes is too small for a message: raise "
                      "net.core.wmem_max to %zu",
                      size, IPC_PAYLOAD_MAX);
            close(fds[0]);
            close(fds[1]);
            return ESCROW_ERR_SYSTEM;
        }
    }
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return ESCROW_OK;
}

struct ipc_buffer *ipc_buffer_new(void)
{
    /* Not zeroed: the pages of a large message are touched only when one arrives. */
    return malloc(sizeof(struct ipc_buffer));
}

void ipc_buffer_free(struct ipc_buffer *buffer)
{
    free(buffer);
}

static enum escrow_err from_errno(const char *what, int number)
{
    switch (number) {
    case EAGAIN:
    case ENOBUFS: /* the kernel lacks memory now: the same again later */
    case ENOMEM:
        return ESCROW_ERR_TIMEOUT;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return ESCROW_ERR_UNAVAILABLE;
    default:
        log_error("ipc: %s: %s", what, strerror(number));
        return ESCROW_ERR_SYSTEM;
    }
}

enum escrow_err ipc_try_send(int fd, const struct ipc_header *header, const uint8_t *payload,
                             int passed_fd)
{
    struct ipc_header copy = *header;
    uint8_t none = 0;
    struct iovec parts[2] = {{&copy, sizeof(copy)}, {&none, header->length}};
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = header->length > 0 ? 2 : 1};
    ssize_t sent;

    if (header->length > 0)
        memcpy(&parts[1].iov_base, &payload, sizeof(payload));
    if (passed_fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &passed_fd, sizeof(passed_fd));
    }
    do {
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? from_errno("send", errno) : ESCROW_OK;
}

/* Takes at most one descriptor out of a message; all others are closed and make it malformed. */
static enum escrow_err take_fd(struct msghdr *message, int *ret_fd)
{
    size_t count = 0;
    int fds[2] = {-1, -1}; /* the control buffer has room for two */

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        size_t len = c->cmsg_len - CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= len && count < ARRAY_LEN(fds); at += sizeof(int))
            memcpy(&fds[count++], CMSG_DATA(c) + at, sizeof(int));
    }
    if (count > 1 || (message->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        return ESCROW_ERR_MALFORMED;
    }
    *ret_fd = fds[0];
    return ESCROW_OK;
}

/* An empty packet reads as the end of the channel does (recv(2)); only the end hangs up. */
static bool is_hung_up(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLRDHUP};

    return poll(&polled, 1, 0) != 0;
}

static ssize_t receive_some(int fd, struct msghdr *message)
{
    ssize_t received;

    do {
        received = recvmsg(fd, message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (received < 0 && errno == EINTR);
    return received;
}

enum escrow_err ipc_try_receive(int fd, struct ipc_buffer *buffer, struct ipc_message *ret_message)
{
    struct iovec part = {buffer, sizeof(*buffer)};
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    enum escrow_err err;
    ssize_t received;
    int passed = -1;

    received = receive_some(fd, &message);
    /*
     * A peer that ends without having read all that it was sent leaves this error, once, in front
     * of its last messages (Linux: unix_release_sock, __skb_try_recv_datagram).
     */
    if (received < 0 && errno == ECONNRESET)
        received = receive_some(fd, &message);
    if (received < 0)
        return from_errno("receive", errno);
    err = take_fd(&message, &passed);
    if (err)
        return err;
    if (received == 0 && passed < 0 && is_hung_up(fd))
        return ESCROW_ERR_UNAVAILABLE;
    if ((size_t)received < sizeof(buffer->header) ||
        (size_t)received - sizeof(buffer->header) != buffer->header.length) {
        cleanup_close(&passed);
        return ESCROW_ERR_MALFORMED;
    }
    *ret_message = (struct ipc_message){.type = buffer->header.type,
                                        .id = buffer->header.id,
                                        .payload = buffer->payload,
                                        .len = buffer->header.length,
                                        .fd = passed};
    return ESCROW_OK;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until fd has one of the events or the deadline (of now_ms; negative: none) has passed. */
static enum escrow_err wait_for(int fd, short events, int64_t deadline_ms)
{
    struct pollfd polled = {.fd = fd, .events = events};

    for (;;) {
        int64_t left = deadline_ms < 0 ? -1 : deadline_ms - now_ms();
        int ready;

        if (deadline_ms >= 0 && left <= 0)
            return ESCROW_ERR_TIMEOUT;
        ready = poll(&polled, 1, (int)left);
        if (ready > 0)
            return ESCROW_OK;
        if (ready < 0 && errno != EINTR)
            return from_errno("poll", errno);
    }
}

enum escrow_err ipc_send(int fd, uint32_t type, uint64_t id, const struct ipc_writer *payload,
                         int timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    struct ipc_header header = {
        .type = type, .length = payload ? (uint32_t)payload->len : 0, .id = id};
    enum escrow_err err = payload ? payload->err : ESCROW_OK;

    if (err)
        return err;
    while ((err = ipc_try_send(fd, &header, payload ? payload->bytes : NULL, -1)) ==
           ESCROW_ERR_TIMEOUT) {
        err = wait_for(fd, POLLOUT, deadline);
        if (err)
            return err;
    }
    return err;
}

enum escrow_err ipc_receive(int fd, struct ipc_buffer *buffer, int timeout_ms,
                            struct ipc_message *ret_message)
{
    int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    enum escrow_err err;

    while ((err = ipc_try_receive(fd, buffer, ret_message)) == ESCROW_ERR_TIMEOUT) {
        err = wait_for(fd, POLLIN, deadline);
        if (err)
            return err;
    }
    return err;
}
