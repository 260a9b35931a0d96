/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/keeper_request.h"
#include "escrowd/tpm_jobs.h"
#include "escrowd/turns.h"
#include "libescrow/reason.h"

/*
 * Who uses the TPM next. The TPM's thread has at most two requests: the one it works on, and the
 * one that it finds when that is done. All others wait here for their turn, an identity after the
 * other, and what was decided about a request is looked at again when its turn comes and when it is
 * back. The keeper's own jobs (is the TPM there, imports after the store was rebuilt) go to the
 * thread as they come, one of each at a time; what keeper_warm.h has for it, only when it is idle.
 */
struct keeper_tpm {
    struct tpm_thread *thread; /* NULL before keeper_tpm_start: the TPM is the loop's */
    struct turns turns;
    unsigned at_work; /* requests that the thread has */

    struct tpm_job check;
    bool is_checking;
    int64_t next_check_ms;

    struct tpm_import_job import;
    struct tpm_name import_object;
    bool is_importing;
    bool has_imported;     /* something since all was */
    unsigned imports_left; /* until the next tick */
};

/* Before the event loop: asks the TPM a first time, and starts its thread. */
void keeper_tpm_init(struct keeper *keeper);
MUST_CHECK enum escrow_err keeper_tpm_start(struct keeper *keeper);
/* Gives up what is under way; the requests that it was for are told. */
void keeper_tpm_stop(struct keeper *keeper);
void keeper_tpm_deinit(struct keeper *keeper);

/* Every second: is the TPM there (every five seconds while it is), and what is to be imported. */
void keeper_tpm_tick(struct keeper *keeper);

/* The TPM has nothing to do, and nobody waits for it. */
bool keeper_tpm_is_idle(const struct keeper *keeper);
/* Something failed as if it were gone: asks it now. */
void keeper_tpm_doubt(struct keeper *keeper);

/*
 * The request waits for its turn: REQUEST_QUEUED, until request_advance hands it to its route's
 * turn step, at the latest after wait_ms. An identity after the other (turns.h).
 */
void keeper_tpm_wait(struct request *request, int64_t wait_ms);
/* Out of the queue. */
void keeper_tpm_leave(struct request *request);
/* REASON_NONE, or why a request whose turn has come (or whose wait is over) gets none. */
enum reason keeper_tpm_refuses(const struct request *request);
/*
 * In its turn step: gives the request's job to the TPM (REQUEST_AT_TPM). When it is done, it is
 * request->job and request_advance hands the request to its route's back step. Takes the job.
 */
void keeper_tpm_do(struct request *request, struct tpm_job *job);
/* A keeper that is to stop begins nothing new: who waits is told. */
void keeper_tpm_drain(struct keeper *keeper);

/* The reason for what became of a job. */
enum reason keeper_tpm_reason(enum escrow_err err);
/* Keeps what the TPM made of a version's blob; failing costs only another import. */
void keeper_tpm_imported(struct keeper *keeper, const struct tpm_name *object,
                         const struct tpm_private *private_area);
