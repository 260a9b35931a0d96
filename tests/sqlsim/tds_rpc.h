/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stddef.h>
#include <stdint.h>

/*
 * RPC requests (MS-TDS 2.2.6.6) as clients send them that pass parameters: sp_executesql, its
 * statement, and values of type nvarchar and int. Everything else is malformed here. It exists for
 * outside clients; what our programs send is never an RPC, and the tests hold them to that.
 */

/*
 * The statement, owned by the caller. In a SELECT the values stand in place of their names, as
 * literals; in other statements the names stay, since the statements that this server knows take
 * literals only (sqlserver-facts 1.5). ESCROW_ERR_MALFORMED.
 */
MUST_CHECK enum escrow_err tds_rpc_statement(const uint8_t *payload, size_t len,
                                             char **ret_statement);
