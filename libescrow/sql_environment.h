/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/sql.h"

/* What sql_environment_new (sql.h) keeps for the other modules of the SQL layer. */

/* The names by which the driver finds the instance: plainly, and for who says that he only reads.
 */
#define SQL_ENVIRONMENT_SOURCE "escrowd"
#define SQL_ENVIRONMENT_READ_SOURCE "escrowd-read"

/* UTF-16; NULL where the instance has a keytab, or there is no environment. */
const struct secret *sql_environment_password(void);
/* The copy of the instance's ca_file; -1 without an environment. */
int sql_environment_ca_fd(void);

/*
 * A connection up to where the driver would look the instance's name up, so that everything that it
 * loads and reads for one is there (sql.c). ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err sql_rehearse(const struct sql_instance *instance);
