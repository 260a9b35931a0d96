/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/audit_record.h"
#include "libescrow/err.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The member's SQLite database: what the audit log says, folded into tables that can be asked, and
 * the one thing that is not in the log: the TPM's encrypted private areas. It may be deleted at any
 * time; the ledger rebuilds it from the log. Only the store_* files know SQLite. Holds no plaintext
 * and decides nothing.
 *
 * Results of all calls: ESCROW_ERR_STORE with a log line where SQLite fails or a row does not have
 * its form; ESCROW_ERR_NOT_FOUND where said.
 */
struct store;

/*
 * Opens or makes the database (mode 0600), alone: a second process is refused. The schema is
 * brought up to date; ESCROW_ERR_STORE for one that is newer than this program.
 */
MUST_CHECK enum escrow_err store_open(const char *path, struct store **ret_store);
void store_close(struct store *store);
CLEANUP_FUNCTION(store_close_p, struct store, store_close)

/*
 * The database was found beside the WAL of another time: nothing that is read here means anything,
 * and nothing may be written, until it is begun anew.
 */
bool store_is_mixed(const struct store *store);
/* Removes what was found and begins with an empty store. ESCROW_ERR_STORE: only closed. */
MUST_CHECK enum escrow_err store_renew(struct store *store);

/* One transaction at a time. Without a commit nothing of it happened. */
MUST_CHECK enum escrow_err store_begin(struct store *store);
MUST_CHECK enum escrow_err store_commit(struct store *store);
/* After a failure; safe where none is open. ESCROW_ERR_STORE: it is open still. */
MUST_CHECK enum escrow_err store_rollback(struct store *store);

/* The last record of the log whose alert was handed over; 0: none is known. Not of the fold. */
MUST_CHECK enum escrow_err store_told(struct store *store, uint64_t *ret_sequence);
MUST_CHECK enum escrow_err store_set_told(struct store *store, uint64_t sequence);

/* The last record of the log whose meaning is in the tables; all zero in a new store. */
MUST_CHECK enum escrow_err store_folded(struct store *store, struct audit_chain *ret_folded);
MUST_CHECK enum escrow_err store_set_folded(struct store *store, const struct audit_chain *folded);
