/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/secret.h"

/* The longest password of a SQL login, in UTF-16 units (CREATE LOGIN). */
#define SQL_PASSWORD_UNITS_MAX 128

/*
 * The first line of a password file as UTF-16. ESCROW_ERR_CONFIG, logged without the content, if it
 * is not a regular file that only its owner writes and others cannot read (mode & 027 is 0), or the
 * line is empty, not UTF-8 or over SQL_PASSWORD_UNITS_MAX: the driver would cut it or log in with
 * none. ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err sql_password_read(const char *path, struct secret **ret_utf16);
