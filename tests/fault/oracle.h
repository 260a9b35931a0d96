/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include <stddef.h>
#include <stdint.h>

/*
 * Says from the log and the replies alone whether a keeper kept its promises. It reads the lines of
 * the log by itself, with nothing of the code that wrote them.
 *
 *  - what was acknowledged is in the log, under the sequence number, event and act of the reply,
 *    and was on disk when the reply came;
 *  - what a grant let out is recorded as allowed, and not as unfinished;
 *  - an act is decided once: a further decision on it needs the first to be unfinished;
 *  - an order serves one replica (which may ask again for what never reached it);
 *  - the log is whole: sequences without a gap, every record with the hash of the one before.
 */
struct oracle;

struct oracle *oracle_new(const char *audit_folder);
void oracle_free(struct oracle *oracle);

/*
 * A reply acknowledged the signed act (compact form) by a record of this event. synced: how much of
 * the segment was on disk when it came.
 */
void oracle_acknowledge(struct oracle *oracle, uint64_t sequence, const char *event,
                        const char *act, int64_t synced);
/* Reads the log; NULL, or what is wrong with it (until the next call). */
const char *oracle_check(struct oracle *oracle);
/* How many records of this event there are, after a check. */
size_t oracle_count(const struct oracle *oracle, const char *event);
/* One of them, from 0, as it stands in the log: the oracle's. NULL: there are no more. */
const json_t *oracle_record(const struct oracle *oracle, size_t at);
