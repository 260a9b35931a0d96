/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker.h"

#include "client/agent_harden.h"
#include "client/agent_sandbox.h"
#include "client/worker_choice.h"
#include "client/worker_escrow.h"
#include "client/worker_sql.h"
#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <string.h>
#include <sys/time.h>
#include <time.h>

#define REPORT_TIMEOUT_MS 1000
#define RECEIPT_PAUSE_MS 200
/* Less than that is no time for another receipt. */
#define RECEIPT_LEAST_MS 500

struct attempt {
    struct worker_run run;
    struct worker_sql sql;
    struct worker_identity identity;
    struct worker_tried tried;
};

static void pause_ms(int64_t ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

/* Tries until it is noted, or the run's time is over: escrowd raises an alert then. */
static void deliver_receipt(struct worker_escrow *escrow, const struct worker_receipt *receipt)
{
    struct worker_result kept;
    int64_t wait_ms = RECEIPT_PAUSE_MS;

    worker_run_begin(escrow->run, WORKER_PART_RECEIPT);
    kept = escrow->run->result;
    while (worker_escrow_receipt(escrow, receipt) != ESCROW_OK) {
        log_warning("%s/%s: the receipt was not noted: %s", escrow->run->task->instance->name,
                    escrow->run->task->database, escrow->run->result.text);
        if (worker_run_left_ms(escrow->run) < wait_ms + RECEIPT_LEAST_MS) {
            escrow->run->result = kept;
            return;
        }
        pause_ms(wait_ms);
        wait_ms *= 2;
    }
    escrow->run->result = kept;
    escrow->run->result.is_receipted = true;
}

/* The master key was opened with this object: does it open by itself now? */
static enum escrow_err prove(struct attempt *attempt, const struct answer_object *object)
{
    struct worker_run *run = &attempt->run;
    bool opens = false;
    enum escrow_err err;

    worker_run_begin(run, WORKER_PART_CHECK);
    err = worker_sql_opens(&attempt->sql, &opens);
    if (err || !opens) {
        if (!err)
            worker_run_fail(run, WORKER_NOT_PROVED,
                            "the service master key was added, and the master key still does not "
                            "open by itself");
        return ESCROW_ERR_UNAVAILABLE;
    }
    /* What an earlier version or an earlier escrowd said is no failure any more. */
    worker_run_fail(run, WORKER_OPENED, "%s", "");
    run->result.version = object->version;
    run->result.is_behind = object->state == SECRET_RETIRED;
    return ESCROW_OK;
}

/* What a grant is for: open, prove, say how it went. ESCROW_ERR_NOT_FOUND: no password of it. */
static enum escrow_err use_grant(struct attempt *attempt, struct worker_escrow *escrow,
                                 const struct answer *grant, EVP_PKEY *recipient)
{
    struct worker_receipt receipt = {.grant = grant};
    size_t index = 0;
    enum escrow_err err = worker_sql_open(&attempt->sql, grant, recipient, &index);

    if (!err)
        err = prove(attempt, &grant->objects[index]);
    if (!err)
        receipt.object = &grant->objects[index];
    receipt.sql_error = attempt->run.result.sql_error;
    receipt.detail = attempt->run.result.text;
    deliver_receipt(escrow, &receipt);
    return err;
}

/* One challenge and one release. ESCROW_ERR_NOT_FOUND: the database refused what was granted. */
static enum escrow_err ask(struct attempt *attempt, struct worker_escrow *escrow)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    CLEANUP(key_free_p) EVP_PKEY *recipient = NULL;
    struct worker_choice choice;
    enum escrow_err err;

    worker_run_begin(&attempt->run, WORKER_PART_CHALLENGE);
    err = worker_escrow_challenge(escrow, &challenge);
    if (err)
        return err;
    choice = worker_choose(challenge, &attempt->tried);
    if (choice.count == 0) {
        if (attempt->tried.count == 0)
            worker_run_fail(&attempt->run, WORKER_DENIED,
                            "escrowd %s has no password for this database: deposit it (escrowctl "
                            "deposit)",
                            escrow->config->address);
        return ESCROW_ERR_DENIED;
    }
    err = worker_sql_set_context(&attempt->sql, challenge->nonce);
    if (err)
        return err;
    recipient = key_generate();
    if (!recipient)
        return ESCROW_ERR_CRYPTO;
    err = worker_escrow_release(escrow, challenge, &choice, recipient, &grant);
    if (err)
        return err;
    err = use_grant(attempt, escrow, grant, recipient);
    if (err == ESCROW_ERR_NOT_FOUND)
        worker_note_tried(&attempt->tried, challenge, &choice);
    return err;
}

/* All that one escrowd has. */
static enum escrow_err ask_escrowd(struct attempt *attempt, const struct agent_escrowd *config)
{
    struct worker_escrow escrow;
    enum escrow_err err = worker_escrow_init(&escrow, &attempt->run, &attempt->identity, config);

    if (!err)
        do
            err = ask(attempt, &escrow);
        while (err == ESCROW_ERR_NOT_FOUND);
    worker_escrow_deinit(&escrow);
    return err;
}

/* One escrowd after the other, until one helped; the result is the failure that tells most. */
static void ask_all(struct attempt *attempt)
{
    const struct agent_config *config = attempt->run.task->config;
    struct worker_result *result = &attempt->run.result, told = {0};

    for (size_t i = 0; i < config->escrowd_count; i++) {
        if (ask_escrowd(attempt, &config->escrowds[i]) == ESCROW_OK ||
            worker_weight(result->outcome) == 0)
            return;
        if (config->escrowd_count > 1)
            log_warning("%s/%s: %s", attempt->run.task->instance->name, attempt->run.task->database,
                        result->text);
        if (worker_weight(result->outcome) > worker_weight(told.outcome))
            told = *result;
    }
    memcpy(told.took_us, result->took_us, sizeof(told.took_us));
    *result = told;
}

static void attempt_once(struct attempt *attempt)
{
    struct worker_run *run = &attempt->run;
    const struct agent_instance *instance = run->task->instance;
    bool opens = false;

    if (worker_identity_init(&attempt->identity, run) || worker_sql_init(&attempt->sql, run) ||
        worker_sql_opens(&attempt->sql, &opens))
        return;
    if (opens) {
        run->result.outcome = WORKER_ALREADY_OPEN;
        return;
    }
    ask_all(attempt);
    worker_run_end(run);
    if (run->result.outcome == WORKER_OPENED && instance->is_catalog)
        worker_sql_catalog_startup(&attempt->sql);
}

/* What must hold before anything secret is read. */
static enum escrow_err prepare(const struct worker_task *task)
{
    const struct sql_instance sql = agent_config_sql(task->instance);
    const struct itimerval deadline = {
        .it_value = {.tv_sec = task->config->worker_deadline_ms / 1000,
                     .tv_usec = (task->config->worker_deadline_ms % 1000) * 1000}};
    enum escrow_err err = agent_harden_memory();

    if (err)
        return err;
    if (setitimer(ITIMER_REAL, &deadline, NULL) != 0)
        return ESCROW_ERR_SYSTEM;
    err = sql_environment_new(&sql);
    return err ? err : agent_sandbox_worker(task->config, task->instance);
}

static enum escrow_err report(const struct worker_run *run)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    worker_put_result(&writer, &run->result);
    return ipc_send(run->task->channel_fd, WORKER_MESSAGE_RESULT, 0, &writer, REPORT_TIMEOUT_MS);
}

enum escrow_err worker_attempt(const struct worker_task *task)
{
    struct attempt attempt = {.tried = {0}};
    enum escrow_err err;

    worker_run_init(&attempt.run, task);
    err = prepare(task);
    if (err)
        worker_run_fail(&attempt.run, WORKER_LOCAL,
                        "the worker cannot be made safe (%s), see the lines above",
                        escrow_err_name(err));
    else
        attempt_once(&attempt);
    worker_sql_deinit(&attempt.sql);
    worker_identity_deinit(&attempt.identity);
    /* A part that failed without a word of its own had no memory or no randomness. */
    if (attempt.run.result.outcome == WORKER_DIED)
        worker_run_fail(&attempt.run, WORKER_LOCAL, "no memory, or OpenSSL failed");
    err = report(&attempt.run);
    sql_environment_free();
    return err;
}

enum escrow_err worker_rehearse(const struct worker_task *task)
{
    struct worker_identity identity = {0};
    struct worker_run run;
    enum escrow_err err = prepare(task);

    if (err)
        return err;
    worker_run_init(&run, task);
    err = worker_identity_init(&identity, &run);
    worker_identity_deinit(&identity);
    for (size_t i = 0; i < task->config->escrowd_count && !err; i++) {
        CLEANUP(tls_free_p) struct tls *tls = NULL;

        err = worker_escrow_tls(task->instance, &task->config->escrowds[i], &tls);
    }
    sql_environment_free();
    return err;
}
