/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stddef.h>
#include <sys/types.h>

/*
 * Bytes that one process hands to another as a descriptor: memory of the kernel's that nobody can
 * change any more (memfd_create(2), F_ADD_SEALS). Who receives one may face a peer that was taken
 * over: the descriptor is looked at before anything is read, and it is read, never mapped, so that
 * nothing which the peer does to its memory can end the reader.
 */

/* New and empty, close-on-exec, the caller's to fill and to close. ESCROW_ERR_SYSTEM, logged. */
MUST_CHECK enum escrow_err sealed_new(const char *name, int *ret_fd);
/* From now on nobody changes it, its size included. ESCROW_ERR_SYSTEM, logged. */
MUST_CHECK enum escrow_err sealed_finish(int fd);
/* Both, around these bytes. */
MUST_CHECK enum escrow_err sealed_from(const char *name, const void *bytes, size_t len,
                                       int *ret_fd);

/*
 * How much it holds. ESCROW_ERR_MALFORMED, with a log line that says why, if it is no such memory,
 * can still be changed, or holds nothing or more than max bytes.
 */
MUST_CHECK enum escrow_err sealed_size(int fd, size_t max, size_t *ret_len);
/*
 * Exactly len bytes from at on, wherever others have read (not read(2): the descriptors of one
 * memory share one position). ESCROW_ERR_SYSTEM, logged.
 */
MUST_CHECK enum escrow_err sealed_read(int fd, void *ret_bytes, size_t len, size_t at);
