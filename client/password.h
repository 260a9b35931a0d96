/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/secret.h"

/*
 * A password on its way into a deposit: from a terminal without echo, from a file descriptor, or
 * made here. It is only ever in the secure heap, never in an argument, an environment or a buffer
 * of stdio. Every function refuses what SQL Server would not take as a password: empty, over 128
 * characters, not UTF-8, or with a control character.
 */

#define PASSWORD_CHARACTERS_MAX 128

/*
 * Asks twice on /dev/tty. ESCROW_ERR_SYSTEM (no terminal, interrupted), ESCROW_ERR_MALFORMED (not a
 * password, or the two differ); each with a log line.
 */
MUST_CHECK enum escrow_err password_ask(struct secret **ret_password);

/* Reads a descriptor to its end and drops one newline there. */
MUST_CHECK enum escrow_err password_read(int fd, struct secret **ret_password);

/* 40 random characters of [A-Za-z0-9_-] (240 bits), of all of these kinds. */
MUST_CHECK enum escrow_err password_generate(struct secret **ret_password);

/* Writes it with a newline. ESCROW_ERR_SYSTEM with a log line. */
MUST_CHECK enum escrow_err password_write(int fd, const struct secret *password);
