/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_transport.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SWTPM_PREFIX "swtpm:path="
#define DEVICE_PREFIX "device:"
#define HEADER_BYTES 10 /* tag, size, response code (Part 1, 18.4) */
#define MAGIC 0x657363726f776474

_Static_assert(sizeof(((struct tpm_transport *)0)->path) ==
                   sizeof(((struct sockaddr_un *)0)->sun_path),
               "a path is that of a socket");

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int connect_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, path, sizeof(address.sun_path));
    /* Does not block: a full queue is EAGAIN, and counts as no answer. */
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        cleanup_close(&fd);
    return fd;
}

static int open_device(const char *path)
{
    /* Non-blocking: else write() returns only when the TPM is done (tpm(4)). */
    return open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static TSS2_RC lost(struct tpm_transport *transport, const char *what)
{
    if (log_may(&transport->losses))
        log_error("tpm: %s: %s: %s", transport->path, what, strerror(errno));
    transport->failures++;
    tpm_transport_disconnect(transport);
    return TSS2_TCTI_RC_IO_ERROR;
}

static bool is_stopped(const struct tpm_transport *transport)
{
    struct pollfd poller = {.fd = transport->stop_fd, .events = POLLIN};

    return poll(&poller, 1, 0) > 0;
}

static TSS2_RC on_transmit(TSS2_TCTI_CONTEXT *context, size_t size, const uint8_t *command)
{
    struct tpm_transport *transport = (struct tpm_transport *)context;
    ssize_t written;

    if (is_stopped(transport)) {
        errno = ECANCELED;
        return lost(transport, "cannot send");
    }
    if (transport->fd < 0)
        transport->fd =
            transport->is_device ? open_device(transport->path) : connect_socket(transport->path);
    if (transport->fd < 0)
        return lost(transport, "cannot connect");
    transport->commands++;
    transport->sent_us = metric_now_us();
    /* At most 4 KiB: it fits into the socket's buffer, and a device takes a command at once. */
    do
        written = transport->is_device ? write(transport->fd, command, size)
                                       : send(transport->fd, command, size, MSG_NOSIGNAL);
    while (written < 0 && errno == EINTR);
    if (written < 0 || (size_t)written != size)
        return lost(transport, "cannot send");
    return TSS2_RC_SUCCESS;
}

/* Waits until there is something to read; false with errno at the deadline, or when stopped. */
static bool wait_readable(const struct tpm_transport *transport, int64_t deadline_ms)
{
    struct pollfd pollers[] = {{.fd = transport->fd, .events = POLLIN},
                               {.fd = transport->stop_fd, .events = POLLIN}};

    for (;;) {
        int64_t left = deadline_ms - now_ms();
        int ready = poll(pollers, ARRAY_LEN(pollers), left > 0 ? (int)left : 0);

        if (ready > 0 && pollers[1].revents) {
            errno = ECANCELED;
            return false;
        }
        if (ready > 0)
            return true;
        if (ready == 0 && left <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

/* Bytes that a response still lacks: its header, then what the header says; -1 if it is nonsense.
 */
static ssize_t missing(const uint8_t *response, size_t have, size_t cap)
{
    size_t size;

    if (have < HEADER_BYTES)
        return (ssize_t)(HEADER_BYTES - have);
    size = (size_t)response[2] << 24 | (size_t)response[3] << 16 | (size_t)response[4] << 8 |
           (size_t)response[5];
    return size < have || size > cap ? -1 : (ssize_t)(size - have);
}

static TSS2_RC on_receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *response,
                          int32_t timeout)
{
    struct tpm_transport *transport = (struct tpm_transport *)context;
    const int64_t deadline_ms = now_ms() + transport->timeout_ms;
    size_t have = 0;
    ssize_t left;

    (void)timeout; /* the TSS asks to block for ever; our deadline stands */
    /* The TSS asks for the size first: any that is enough will do. */
    if (!response) {
        *size = TPM2_MAX_RESPONSE_SIZE;
        return TSS2_RC_SUCCESS;
    }
    if (*size < HEADER_BYTES)
        return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    while ((left = missing(response, have, *size)) > 0) {
        ssize_t got;

        if (!wait_readable(transport, deadline_ms))
            return lost(transport, "no answer");
        /* All there is room for: a device drops what a read does not take. */
        got = read(transport->fd, response + have, *size - have);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got == 0)
            errno = ECONNRESET;
        if (got <= 0)
            return lost(transport, "no answer");
        have += (size_t)got;
    }
    if (left < 0) {
        errno = EPROTO;
        return lost(transport, "not a TPM's answer");
    }
    if (!transport->is_device && !transport->is_held)
        tpm_transport_disconnect(transport);
    metric_observe(&transport->times, metric_now_us() - transport->sent_us);
    *size = have;
    return TSS2_RC_SUCCESS;
}

enum escrow_err tpm_transport_init(const char *setting, int timeout_ms,
                                   struct tpm_transport *ret_transport)
{
    struct tpm_transport transport = {
        .tcti = {.magic = MAGIC, .version = 1, .transmit = on_transmit, .receive = on_receive},
        .fd = -1,
        .timeout_ms = timeout_ms,
    };
    const char *path = NULL;

    if (strncmp(setting, SWTPM_PREFIX, strlen(SWTPM_PREFIX)) == 0)
        path = setting + strlen(SWTPM_PREFIX);
    if (strncmp(setting, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) == 0) {
        path = setting + strlen(DEVICE_PREFIX);
        transport.is_device = true;
    }
    if (!path || path[0] != '/' || strlen(path) >= sizeof(transport.path)) {
        log_error("tpm: '%s' is no TPM: expected swtpm:path=/absolute/socket or device:/dev/..., "
                  "with a path of less than %zu bytes",
                  setting, sizeof(transport.path));
        return ESCROW_ERR_CONFIG;
    }
    memcpy(transport.path, path, strlen(path));
    transport.stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (transport.stop_fd < 0) {
        log_error("tpm: eventfd: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    *ret_transport = transport;
    return ESCROW_OK;
}

void tpm_transport_deinit(struct tpm_transport *transport)
{
    tpm_transport_disconnect(transport);
    cleanup_close(&transport->stop_fd);
}

void tpm_transport_stop(struct tpm_transport *transport)
{
    /* Fails only where it was written before. */
    (void)eventfd_write(transport->stop_fd, 1);
}

void tpm_transport_disconnect(struct tpm_transport *transport)
{
    cleanup_close(&transport->fd);
    transport->fd = -1;
}

void tpm_transport_hold(struct tpm_transport *transport)
{
    transport->is_held = true;
}

void tpm_transport_let_go(struct tpm_transport *transport)
{
    transport->is_held = false;
    if (!transport->is_device)
        tpm_transport_disconnect(transport);
}

TSS2_TCTI_CONTEXT *tpm_transport_tcti(struct tpm_transport *transport)
{
    return (TSS2_TCTI_CONTEXT *)&transport->tcti;
}
