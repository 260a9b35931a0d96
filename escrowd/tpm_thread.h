/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/tpm_context.h"

#include <event2/event.h>

#include <sys/queue.h>

/*
 * The one thread that talks to the TPM, so that the event loop goes on while the TPM works. It does
 * jobs, one at a time, in the order in which they were given. All that crosses between the two is
 * the job, and only one of them has it: the loop until it gives it away and again when it is done,
 * the thread in between. It never decides anything and knows nothing but the job; what has changed
 * meanwhile the loop looks at when the job is back.
 *
 * The thread is born into the sandbox of its role: start it after sandbox_enter.
 */
struct tpm_thread;
struct tpm_job;

/* On the thread: uses the TPM and what is in the job, nothing else. Fills job->err. */
typedef void (*tpm_job_work_fn)(struct tpm *tpm, struct tpm_job *job);
/* On the event loop, from it alone: the job is the handler's again. */
typedef void (*tpm_job_done_fn)(struct tpm_job *job);

/* The first member of what a job needs and what comes of it (tpm_jobs.h). */
struct tpm_job {
    STAILQ_ENTRY(tpm_job) next;
    tpm_job_work_fn work;
    tpm_job_done_fn done;
    void *owner; /* for done */
    enum escrow_err err;
    int64_t took_us; /* on the thread; filled by it */
};

/*
 * Starts the thread. Until tpm_thread_stop the TPM is its alone: nobody else may call anything of
 * it but tpm_stop. ESCROW_ERR_NO_MEMORY, ESCROW_ERR_SYSTEM.
 */
MUST_CHECK enum escrow_err tpm_thread_new(struct event_base *base, struct tpm *tpm,
                                          struct tpm_thread **ret_thread);
/* Gives a job away. Not after tpm_thread_stop. */
void tpm_thread_do(struct tpm_thread *thread, struct tpm_job *job);
/*
 * Ends the thread without waiting for the TPM: what is under way fails, as does what is waiting
 * (ESCROW_ERR_UNAVAILABLE), and all of it is done before this returns. The TPM is then stopped
 * (tpm_stop), unless nothing was to do.
 */
void tpm_thread_stop(struct tpm_thread *thread);
/* Stops it if need be. */
void tpm_thread_free(struct tpm_thread *thread);

/* Those of the TPM, as of the last job. */
void tpm_thread_numbers(struct tpm_thread *thread, struct tpm_numbers *ret_numbers);
