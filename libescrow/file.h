/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Small files, whole: configuration, keys, certificates, state. What is written has its final mode
 * from the first instant and is on disk when the call returns; what is read is a regular file of a
 * bounded size. A failure has a log line that names the file.
 */

/*
 * Writes a file that must not exist yet. ESCROW_ERR_EXISTS if it does, ESCROW_ERR_SYSTEM; after a
 * failure there is no file.
 */
MUST_CHECK enum escrow_err file_create(const char *path, mode_t mode, const void *bytes,
                                       size_t len);

/* Replaces a file or makes it: whoever reads it sees the old or the new bytes, never a part. */
MUST_CHECK enum escrow_err file_replace(const char *path, mode_t mode, const void *bytes,
                                        size_t len);

/*
 * Opens a regular file of at most max bytes for reading; close-on-exec, the caller's to close.
 * is_secret: group and others must have no right on it, and it must not be empty.
 * ESCROW_ERR_NOT_FOUND (no log line), ESCROW_ERR_CONFIG, ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err file_open(const char *path, size_t max, bool is_secret, int *ret_fd,
                                     size_t *ret_size);

/*
 * A sealed copy of a file in memory, made by the kernel: for processes that are to see it as it was
 * now; close-on-exec, the caller's to close. name is for /proc. Errors as of file_open, but a
 * missing file is ESCROW_ERR_CONFIG with a log line.
 */
MUST_CHECK enum escrow_err file_seal(const char *path, size_t max, const char *name, int *ret_fd);

/* Reads from where the descriptor is to the end, but at most cap bytes. ESCROW_ERR_SYSTEM (errno).
 */
MUST_CHECK enum escrow_err file_read_fd(int fd, void *bytes, size_t cap, size_t *ret_len);

/*
 * Reads a file of at most max bytes; a NUL follows the bytes; owned by the caller.
 * ESCROW_ERR_NOT_FOUND (no log line), ESCROW_ERR_CONFIG (larger, or not a regular file),
 * ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err file_read(const char *path, size_t max, char **ret_text,
                                     size_t *ret_len);

/*
 * Reads a file that holds a secret (1 ..= max bytes). ESCROW_ERR_CONFIG also if group or others
 * have any right on it.
 */
MUST_CHECK enum escrow_err file_read_secret(const char *path, size_t max,
                                            struct secret **ret_secret);
