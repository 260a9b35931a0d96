/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/reply.h"

#include <event2/buffer.h>

/* Types and values of result columns (MS-TDS 2.2.5.4, 2.2.5.5). All are nullable. */

/* TYPE_INFO of a column. */
void tds_value_type(struct evbuffer *out, enum reply_type type);
/* A value in a row, from its text (reply.h); NULL is NULL. A text that is none of its type ends the
 * process: the model wrote it. */
void tds_value(struct evbuffer *out, enum reply_type type, const char *text);

/* SQL_Latin1_General_CP1_CI_AS, as it stands in types and in the change of the environment. */
#define TDS_COLLATION_LEN 5
extern const uint8_t tds_collation[TDS_COLLATION_LEN];
