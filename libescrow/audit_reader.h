/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/audit_record.h"

#include <stdint.h>

/*
 * Reads the audit log's directory: segments named by the sequence of their first record
 * (00000000000000000001.jsonl), each a file of lines (audit_record.h). Every line that is handed
 * out has been checked against the one before it. Never writes.
 */

#define AUDIT_SEGMENT_NAME 27 /* 20 digits, ".jsonl", NUL */

/* One checked line; line and record are the reader's and live until the callback returns. */
struct audit_line {
    const struct audit_record *record;
    const char *text; /* with the newline */
    size_t len;
    const struct audit_chain *chain; /* moved to this record */
};

/* Anything but ESCROW_OK ends the reading and is returned by audit_read. */
typedef enum escrow_err (*audit_line_fn)(const struct audit_line *line, void *argument);

/* How far a reading came. */
struct audit_reading {
    struct audit_chain end;           /* the last record that was checked */
    char segment[AUDIT_SEGMENT_NAME]; /* the last segment that was opened; empty: there is none */
    uint64_t segment_bytes;           /* in it, up to the end of its last complete line */
    uint64_t torn_bytes;              /* after that: lines whose writing never ended */
    enum audit_fault fault;           /* what was wrong with the record after end */
};

/*
 * Reads from the segment that holds record from (1: the beginning) to the end and calls on_line
 * (may be NULL) for each record with a sequence of at least from. The first line of a later segment
 * is believed about the line before it. *ret_reading is filled whatever happens. ESCROW_OK;
 * ESCROW_ERR_MALFORMED with a log line (ret_reading->fault after ret_reading->end.sequence);
 * ESCROW_ERR_STORE (cannot be read); what on_line returned.
 */
MUST_CHECK enum escrow_err audit_read(const char *directory, uint64_t from, audit_line_fn on_line,
                                      void *argument, struct audit_reading *ret_reading);

/* The name of the segment whose first record is sequence. */
void audit_segment_name(uint64_t sequence, char ret_name[static AUDIT_SEGMENT_NAME]);

/* The name of the last segment; empty if there is none. ESCROW_ERR_STORE: it cannot be known. */
MUST_CHECK enum escrow_err audit_last_segment(const char *directory,
                                              char ret_name[static AUDIT_SEGMENT_NAME]);
