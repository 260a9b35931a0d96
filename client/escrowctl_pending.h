/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/escrowctl_output.h"
#include "client/rpc_server.h"

#include <stdbool.h>

/* The releases that wait for admins, as pending and status show them. */

/* Appends a request of GET /v1/status with what a person wants to know more; false: no memory. */
bool ctl_add_pending(json_t *rows, const struct rpc_server *escrowd, const json_t *request);

#define CTL_PENDING_NOTE_MAX 320 /* bytes with NUL */
/* Why the approval of a request would release nothing as things are; empty: nothing is known. */
void ctl_pending_note(const json_t *request, char ret_text[static CTL_PENDING_NOTE_MAX]);

#define CTL_PENDING_COLUMNS 10
extern const struct ctl_column ctl_pending_columns[CTL_PENDING_COLUMNS];
