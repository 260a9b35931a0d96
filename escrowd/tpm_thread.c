/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_thread.h"

#include "escrowd/clock.h"
#include "libescrow/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

STAILQ_HEAD(job_list, tpm_job);

struct tpm_thread {
    struct tpm *tpm;       /* the thread's */
    struct event *on_done; /* the loop's, as are the next three */
    pthread_t id;
    bool is_started;
    int done_fd; /* readable: there are finished jobs */

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t news;
    struct job_list waiting;
    struct job_list finished;
    struct tpm_numbers numbers;
    bool is_busy;
    bool is_stopping;
};

/* The next job; NULL: there will be none. The lock is held, here and in what follows. */
static struct tpm_job *await_job(struct tpm_thread *thread)
{
    struct tpm_job *job;

    while (!(job = STAILQ_FIRST(&thread->waiting)) && !thread->is_stopping)
        pthread_cond_wait(&thread->news, &thread->lock);
    return job;
}

static void finish(struct tpm_thread *thread, struct tpm_job *job)
{
    STAILQ_INSERT_TAIL(&thread->finished, job, next);
    eventfd_write(thread->done_fd, 1);
}

/* What waited behind a job that found no TPM would only wait for the same deadline again. */
static void fail_waiting(struct tpm_thread *thread)
{
    struct tpm_job *job;

    while ((job = STAILQ_FIRST(&thread->waiting))) {
        STAILQ_REMOVE_HEAD(&thread->waiting, next);
        job->err = ESCROW_ERR_UNAVAILABLE;
        finish(thread, job);
    }
}

static void *run(void *argument)
{
    struct tpm_thread *thread = argument;
    struct tpm_job *job;

    pthread_mutex_lock(&thread->lock);
    while ((job = await_job(thread))) {
        STAILQ_REMOVE_HEAD(&thread->waiting, next);
        thread->is_busy = true;
        pthread_mutex_unlock(&thread->lock);
        job->took_us = clock_boot_us();
        job->work(thread->tpm, job);
        job->took_us = clock_boot_us() - job->took_us;
        pthread_mutex_lock(&thread->lock);
        thread->is_busy = false;
        tpm_numbers(thread->tpm, &thread->numbers);
        finish(thread, job);
        if (job->err == ESCROW_ERR_UNAVAILABLE)
            fail_waiting(thread);
    }
    pthread_mutex_unlock(&thread->lock);
    return NULL;
}

static void hand_back(struct tpm_thread *thread)
{
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    struct tpm_job *job;

    pthread_mutex_lock(&thread->lock);
    STAILQ_CONCAT(&finished, &thread->finished);
    pthread_mutex_unlock(&thread->lock);
    while ((job = STAILQ_FIRST(&finished))) {
        STAILQ_REMOVE_HEAD(&finished, next);
        job->done(job);
    }
}

static void on_done(evutil_socket_t fd, short what, void *argument)
{
    eventfd_t count;

    (void)what;
    eventfd_read(fd, &count);
    hand_back(argument);
}

static enum escrow_err start(struct tpm_thread *thread, struct event_base *base)
{
    int status;

    thread->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (thread->done_fd < 0) {
        log_error("tpm: eventfd: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    thread->on_done = event_new(base, thread->done_fd, EV_READ | EV_PERSIST, on_done, thread);
    if (!thread->on_done || event_add(thread->on_done, NULL))
        return ESCROW_ERR_NO_MEMORY;
    status = pthread_create(&thread->id, NULL, run, thread);
    if (status) {
        log_error("tpm: cannot start a thread: %s", strerror(status));
        return ESCROW_ERR_SYSTEM;
    }
    thread->is_started = true;
    return ESCROW_OK;
}

enum escrow_err tpm_thread_new(struct event_base *base, struct tpm *tpm,
                               struct tpm_thread **ret_thread)
{
    struct tpm_thread *thread = calloc(1, sizeof(*thread));
    enum escrow_err err;

    if (!thread)
        return ESCROW_ERR_NO_MEMORY;
    thread->tpm = tpm;
    thread->done_fd = -1;
    pthread_mutex_init(&thread->lock, NULL);
    pthread_cond_init(&thread->news, NULL);
    STAILQ_INIT(&thread->waiting);
    STAILQ_INIT(&thread->finished);
    tpm_numbers(tpm, &thread->numbers);
    err = start(thread, base);
    if (err) {
        tpm_thread_free(thread);
        return err;
    }
    *ret_thread = thread;
    return ESCROW_OK;
}

void tpm_thread_do(struct tpm_thread *thread, struct tpm_job *job)
{
    pthread_mutex_lock(&thread->lock);
    STAILQ_INSERT_TAIL(&thread->waiting, job, next);
    pthread_cond_signal(&thread->news);
    pthread_mutex_unlock(&thread->lock);
}

void tpm_thread_stop(struct tpm_thread *thread)
{
    if (!thread->is_started)
        return;
    pthread_mutex_lock(&thread->lock);
    thread->is_stopping = true;
    if (thread->is_busy || !STAILQ_EMPTY(&thread->waiting))
        tpm_stop(thread->tpm);
    pthread_cond_signal(&thread->news);
    pthread_mutex_unlock(&thread->lock);
    pthread_join(thread->id, NULL);
    thread->is_started = false;
    hand_back(thread);
}

void tpm_thread_free(struct tpm_thread *thread)
{
    tpm_thread_stop(thread);
    if (thread->on_done)
        event_free(thread->on_done);
    cleanup_close(&thread->done_fd);
    pthread_cond_destroy(&thread->news);
    pthread_mutex_destroy(&thread->lock);
    free(thread);
}

void tpm_thread_numbers(struct tpm_thread *thread, struct tpm_numbers *ret_numbers)
{
    pthread_mutex_lock(&thread->lock);
    *ret_numbers = thread->numbers;
    pthread_mutex_unlock(&thread->lock);
}
