/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/keeper_request.h"

#include <stdint.h>

/*
 * How many releases are under way at once, and who is next. What a release rests on must not be
 * older than RELEASE_FACTS_MAX_MS when the TPM duplicates. Were the replicas of hundreds of groups
 * asked at once, because all of them were promoted at once, most of what they say would be too old
 * by the time it is that release's turn at the TPM: asked, decided and recorded for nothing, and
 * begun again. So a release waits before its replicas are asked, where nothing gets old.
 *
 * - As many are under way as the TPM does in ADMISSION_TPM_MS, by the smoothed time that a release
 *   takes there: ADMISSION_MOST with a fast one, few with a slow one, and two at least, or the TPM
 *   would wait for each.
 * - A release is counted so from its turn until it is answered, but while its replicas are asked
 *   only for ADMISSION_QUICK_MS. A group that waits longer, for a rival or for a node that hangs,
 *   is not what the TPM waits for: it keeps no place from those who answer at once. Who comes
 *   behind n such groups waits n / ADMISSION_MOST times ADMISSION_QUICK_MS for them, with a slow
 *   TPM n / 2 times. ADMISSION_IN_ALL may be under way with them.
 * - So the slow ones may come to their decision together, and be more than the TPM does in time:
 *   what would be too old when they are through (admission_tpm_ms) is asked for again, and not
 *   recorded.
 * - An identity after the other (turns.h), and none has more than half of the places. Who has
 * waited for IPC_RELEASE_WAIT_MS gets overloaded (503, Retry-After), and keeps no place: an agent
 * comes back within a second or two, and those who still wait are before it. Nobody asks anything
 * or writes anything for who only waits.
 *
 * Nothing of a release is looked at before its turn but that its act is right, and everything is
 * then: roster, policy and versions are those of that moment. This module decides nothing about it.
 */
#define ADMISSION_TPM_MS 1000
#define ADMISSION_MOST 64
#define ADMISSION_QUICK_MS 100
#define ADMISSION_IN_ALL 256

struct admission;

/* Nobody waits. The keeper is borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err admission_new(struct keeper *keeper, struct admission **ret_admission);
/* After the last request is gone. NULL is allowed. */
void admission_free(struct admission *admission);

/*
 * The request waits for its turn: REQUEST_HELD, until request_advance hands it to its route's
 * admit step; if nobody is before it that is done when this returns.
 */
void admission_wait(struct request *request);
/* Out of the queue. */
void admission_leave(struct request *request);
/* REASON_NONE, or why a request whose turn has come (or whose wait is over) gets none. */
enum reason admission_refuses(const struct request *request);
/* In its admit step: it is under way from now on, until admission_end. */
void admission_begin(struct request *request);
/* Its replicas are asked from now on, for the first time or again. */
void admission_asks(struct request *request);
/* The request is gone; nothing if it was not under way. */
void admission_end(struct request *request);
/* A keeper that is to stop begins nothing new: who waits is told. */
void admission_drain(struct admission *admission);

/* A release took so long at the TPM. */
void admission_learn(struct admission *admission, int64_t took_us);
/* How long the TPM has to do for the releases that are decided and not through. */
int64_t admission_tpm_ms(const struct admission *admission);

/* For metrics. */
struct admission_numbers {
    size_t waiting;
    size_t under_way;
};
void admission_numbers(const struct admission *admission, struct admission_numbers *ret_numbers);
