/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Messages between the processes of one program: one SOCK_SEQPACKET packet each, a fixed header and
 * a bounded payload, both in the machine's own byte order. The other end may be taken over: what it
 * sends is checked for form here and for permission in ipc_channel.h, and nothing of it is ever
 * trusted to be a length. Never sends a secret.
 */

#define IPC_PAYLOAD_MAX ((size_t)256 * 1024)
#define IPC_NO_DEADLINE (-1)

struct ipc_header {
    uint32_t type;
    uint32_t length; /* of the payload in bytes */
    uint64_t id;     /* an answer carries the id of its question */
};

/* A message as received: payload is borrowed until the next receive into the same buffer. */
struct ipc_message {
    uint32_t type;
    uint64_t id;
    const uint8_t *payload;
    size_t len;
    int fd; /* a passed descriptor (close-on-exec), or -1; owned by the receiver */
};

/*
 * Two connected ends, close-on-exec and non-blocking, with room for a maximum message.
 * ESCROW_ERR_SYSTEM if they cannot be made or net.core.wmem_max is too small.
 */
MUST_CHECK enum escrow_err ipc_pair(int ret_fds[static 2]);

/*
 * A payload under construction: start from {0}. The first error (too large, no memory) sticks and
 * comes back from the send function, so a caller puts field after field without looking.
 */
struct ipc_writer {
    uint8_t *bytes;
    size_t len;
    size_t cap;
    enum escrow_err err;
};

/* Frees the bytes. {0} is allowed. */
void ipc_writer_deinit(struct ipc_writer *writer);
void ipc_put_u8(struct ipc_writer *writer, uint8_t value);
void ipc_put_u32(struct ipc_writer *writer, uint32_t value);
void ipc_put_u64(struct ipc_writer *writer, uint64_t value);
void ipc_put_i32(struct ipc_writer *writer, int32_t value);
void ipc_put_i64(struct ipc_writer *writer, int64_t value);
void ipc_put_bool(struct ipc_writer *writer, bool value);
/* A length of 32 bits, then the bytes. */
void ipc_put_bytes(struct ipc_writer *writer, const void *bytes, size_t len);
/* As bytes, the NUL included; NULL is sent as "". */
void ipc_put_string(struct ipc_writer *writer, const char *text);

/*
 * A payload being read. The first error sticks, later gets return 0, false or "", and
 * ipc_reader_end tells: act on nothing before it.
 */
struct ipc_reader {
    const uint8_t *bytes;
    size_t len;
    size_t used;
    bool is_bad;
};

/* The message is borrowed, and what the gets return is of it. */
void ipc_reader_init(struct ipc_reader *reader, const struct ipc_message *message);
uint8_t ipc_get_u8(struct ipc_reader *reader);
uint32_t ipc_get_u32(struct ipc_reader *reader);
uint64_t ipc_get_u64(struct ipc_reader *reader);
int32_t ipc_get_i32(struct ipc_reader *reader);
int64_t ipc_get_i64(struct ipc_reader *reader);
/* Only 0 and 1 are booleans. */
bool ipc_get_bool(struct ipc_reader *reader);
/* A value of an enum: first ..= last, else the message is malformed (and 0 is returned). */
uint32_t ipc_get_enum(struct ipc_reader *reader, uint32_t first, uint32_t last);
/* At most max bytes, borrowed from the message; never NULL, *ret_len is 0 after an error. */
const uint8_t *ipc_get_bytes(struct ipc_reader *reader, size_t max, size_t *ret_len);
/* A text of at most max bytes without its NUL and without one inside, borrowed; never NULL. */
const char *ipc_get_string(struct ipc_reader *reader, size_t max);
/* Exactly len bytes, copied. */
void ipc_get_fixed(struct ipc_reader *reader, void *ret_bytes, size_t len);
/* ESCROW_OK if every get succeeded and nothing is left over, else ESCROW_ERR_MALFORMED. */
MUST_CHECK enum escrow_err ipc_reader_end(const struct ipc_reader *reader);

/*
 * For processes without an event loop. payload may be NULL (empty). A timeout is in milliseconds;
 * IPC_NO_DEADLINE is for waiting idle for the next question only.
 * ESCROW_ERR_TIMEOUT, ESCROW_ERR_UNAVAILABLE (the peer is gone), the writer's error,
 * ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err ipc_send(int fd, uint32_t type, uint64_t id,
                                    const struct ipc_writer *payload, int timeout_ms);

/* Where messages are received: about 256 KiB, owned by the caller, NULL without memory. */
struct ipc_buffer;
struct ipc_buffer *ipc_buffer_new(void);
void ipc_buffer_free(struct ipc_buffer *buffer);
CLEANUP_FUNCTION(ipc_buffer_free_p, struct ipc_buffer, ipc_buffer_free)

/* As ipc_send; also ESCROW_ERR_MALFORMED (the frame is wrong: drop the peer). */
MUST_CHECK enum escrow_err ipc_receive(int fd, struct ipc_buffer *buffer, int timeout_ms,
                                       struct ipc_message *ret_message);

/*
 * One attempt that never waits, for event loops: ESCROW_ERR_TIMEOUT means "not now". A descriptor
 * that is passed (passed_fd, or -1) stays the caller's.
 */
MUST_CHECK enum escrow_err ipc_try_send(int fd, const struct ipc_header *header,
                                        const uint8_t *payload, int passed_fd);
MUST_CHECK enum escrow_err ipc_try_receive(int fd, struct ipc_buffer *buffer,
                                           struct ipc_message *ret_message);
