/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/metric.h"
#include "libescrow/audit_reader.h"

/*
 * The writer of the audit log (audit_record.h): appends records to segments of JSON lines and
 * says that a record is durable only after fdatasync. Nothing may be released before that. A log
 * that cannot be written (full, unlinked, replaced, failing) takes no record until it can again;
 * what was never acknowledged is cut off. It never rewrites an acknowledged byte, and does not know
 * what records mean: that is the ledger's.
 */

struct audit;

/*
 * Called once per commit, after the lines are durable and before anybody is told. Its result is
 * what the records' own callbacks get.
 */
typedef enum escrow_err (*audit_batch_fn)(const struct audit_line *lines, size_t count,
                                          void *argument);
/* ESCROW_OK: the record is durable. It may append, but must not commit. */
typedef void (*audit_durable_fn)(enum escrow_err err, uint64_t sequence, void *argument);

struct audit_config {
    const char *directory;  /* must exist; copied */
    uint64_t segment_bytes; /* a commit that would pass it starts a new segment */
    audit_batch_fn on_batch;
    void *argument; /* of on_batch */
};

/*
 * Makes durable what a process before this one wrote and had no time to sync, so that nothing is
 * read from the log into what lasts elsewhere (the store) and then is lost from the log itself, by
 * a power cut. Before the first reading. ESCROW_ERR_STORE with a log line.
 */
MUST_CHECK enum escrow_err audit_settle(const char *directory);

/*
 * Continues the log where a reading to its end (audit_read) found it. A torn end is cut and a
 * record of that queued. ESCROW_ERR_STORE with a log line if the directory cannot be written.
 */
MUST_CHECK enum escrow_err audit_open(const struct audit_config *config,
                                      const struct audit_reading *reading,
                                      struct audit **ret_audit);
/* Closes; records that were not committed are dropped without a call. */
void audit_close(struct audit *audit);
CLEANUP_FUNCTION(audit_close_p, struct audit, audit_close)

/*
 * Queues a record (its sequence, time and previous are filled here; nothing is kept of the
 * caller's). on_durable may be NULL; it is called from audit_commit, and only if ESCROW_OK is
 * returned here. ESCROW_ERR_STORE while the log cannot be written; ESCROW_ERR_MALFORMED.
 */
MUST_CHECK enum escrow_err audit_append(struct audit *audit, const struct audit_record *record,
                                        audit_durable_fn on_durable, void *argument);
/* The number of records queued. */
size_t audit_queued(const struct audit *audit);

/*
 * Writes all queued records with one write and one fdatasync, then calls on_batch and each record's
 * callback in order. ESCROW_ERR_STORE: none of them is in the log; or they are, and on_batch said
 * it (audit_trouble is NULL then). All callbacks were told either way.
 */
MUST_CHECK enum escrow_err audit_commit(struct audit *audit);

/* For metrics: what was written, how long each commit took, and the space that is left. */
struct audit_numbers {
    uint64_t bytes;              /* acknowledged since audit_open */
    struct metric_times commits; /* writing and fdatasync; failures too */
    uint64_t free_bytes;         /* on the disk, for this user; 0 if it cannot be known */
};
void audit_numbers(const struct audit *audit, struct audit_numbers *ret_numbers);

/* Why the log takes no records, for status and health; NULL if it does. */
const char *audit_trouble(const struct audit *audit);
/*
 * In trouble: cuts what was never acknowledged and commits a record of the interruption, once there
 * is room for the records after it too.
 * ESCROW_ERR_STORE if the log still cannot be written; the error of on_batch, with the trouble
 * over, if it can, but the record was not taken there. Call it once a second.
 */
MUST_CHECK enum escrow_err audit_recover(struct audit *audit);

/* The last durable record; its time_ms is the latest of all that were seen. */
const struct audit_chain *audit_end(const struct audit *audit);
