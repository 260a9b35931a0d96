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
#include <time.h>

#define REPORT_TIMEOUT_MS 1000
#define RECEIPT_PAUSE_MS 200
/* Less than that is no time for another receipt. */
#define RECEIPT_LEAST_MS 500
/* An escrowd that takes longer than that is asked anew when there is something to ask for. */
#define READY_CONNECT_MS 1000
/* The parent ends one that has waited too long; this is for a parent that does not. */
#define READY_GRACE_MS 2000
/* One round of questions for what the admins have decided, shared by those that are asked. */
#define AWAIT_S 20
/* The first one where redo was late, which mostly comes soon; each next one is twice as long. */
#define AWAIT_ECHO_S 1
/* Between two rounds, if an escrowd answers at once. */
#define AWAIT_PAUSE_MS 1000

struct attempt {
    struct worker_run run;
    struct worker_sql sql;
    struct worker_escrow escrows[AGENT_ESCROWDS_MAX]; /* as the configuration's */
    size_t first;                                     /* that is asked first */
    struct worker_identity identity;
    struct worker_tried tried;
    unsigned await_s;    /* the last round; 0: there has been none */
    EVP_PKEY *recipient; /* kept while admins decide about it; NULL: the next is a new one */
};

static void pause_ms(int64_t ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}

/* What is left for the receipt is not all: an escrowd that hangs must not cost the catalog. */
static void leave_time(struct worker_run *run)
{
    const struct agent_instance *instance = run->task->instance;
    int64_t left_ms = worker_run_left_ms(run);
    int64_t catalog_ms = instance->login_timeout_ms + instance->query_timeout_ms;

    if (instance->is_catalog)
        worker_run_limit(run, left_ms > 2 * catalog_ms ? left_ms - catalog_ms : left_ms / 2);
}

/* Tries until it is noted, or the run's time is over: escrowd raises an alert then. */
static void deliver_receipt(struct worker_escrow *escrow, const struct worker_receipt *receipt)
{
    struct worker_result kept;
    int64_t wait_ms = RECEIPT_PAUSE_MS;

    worker_run_begin(escrow->run, WORKER_PART_RECEIPT);
    if (receipt->object)
        leave_time(escrow->run);
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
    if (!err && !opens) {
        worker_run_fail(run, WORKER_NOT_PROVED,
                        "the service master key was added, and the master key still does not "
                        "open by itself");
        run->result.sql_error = attempt->sql.opens_error;
    }
    if (err || !opens)
        return ESCROW_ERR_UNAVAILABLE;
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

/*
 * One challenge and one release. ESCROW_ERR_NOT_FOUND: to be asked again, because the database
 * refused what was granted.
 */
static enum escrow_err ask(struct attempt *attempt, struct worker_escrow *escrow)
{
    CLEANUP(answer_free_p) struct answer *challenge = NULL;
    CLEANUP(answer_free_p) struct answer *grant = NULL;
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
    if (challenge->challenge.wants_echo)
        err = worker_sql_commit_echo(&attempt->sql, challenge->nonce);
    if (!err)
        err = worker_sql_set_context(&attempt->sql, challenge->nonce);
    if (err)
        return err;
    if (!attempt->recipient)
        attempt->recipient = key_generate();
    if (!attempt->recipient)
        return ESCROW_ERR_CRYPTO;
    err = worker_escrow_release(escrow, challenge, &choice, attempt->recipient, &grant);
    if (err)
        return err;
    err = use_grant(attempt, escrow, grant, attempt->recipient);
    key_free_p(&attempt->recipient);
    if (err == ESCROW_ERR_NOT_FOUND)
        worker_note_tried(&attempt->tried, challenge, &choice);
    return err;
}

/* What its admins are asked for now; an escrowd that is away still knows what they were. */
static void note_request(struct worker_escrow *escrow, const struct worker_result *result)
{
    if (result->outcome == WORKER_NEEDS_APPROVAL)
        escrow->request = escrow->session.problem.request;
    else if (result->outcome != WORKER_UNAVAILABLE)
        escrow->request = 0;
}

/* All that one escrowd has. */
static enum escrow_err ask_escrowd(struct attempt *attempt, size_t index)
{
    struct worker_escrow *escrow = &attempt->escrows[index];
    enum escrow_err err = ESCROW_OK;

    if (!escrow->config)
        err = worker_escrow_init(escrow, &attempt->run, &attempt->identity,
                                 &attempt->run.task->config->escrowds[index]);
    if (err)
        worker_escrow_deinit(escrow);
    else
        do
            err = ask(attempt, escrow);
        while (err == ESCROW_ERR_NOT_FOUND);
    if (err)
        note_request(escrow, &attempt->run.result);
    return err;
}

/*
 * One escrowd after the other, until one helped or none can: true. Else the result is the failure
 * that tells most.
 */
static bool ask_all(struct attempt *attempt)
{
    const struct worker_task *task = attempt->run.task;
    struct worker_result *result = &attempt->run.result, told = {0};
    size_t count = task->config->escrowd_count;
    /* Who waits for admins asks often, and says it once. */
    enum log_level level = attempt->run.wait_by_ms ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;

    for (size_t i = 0; i < count; i++) {
        size_t index = (attempt->first + i) % count;

        attempt->escrows[index].left = count - i;
        if (ask_escrowd(attempt, index) == ESCROW_OK || worker_weight(result->outcome) == 0)
            return true;
        if (count > 1)
            log_write(level, "%s/%s: %s", task->instance->name, task->database, result->text);
        if (worker_weight(result->outcome) > worker_weight(told.outcome))
            told = *result;
    }
    memcpy(told.took_us, result->took_us, sizeof(told.took_us));
    *result = told;
    return false;
}

static void tell_admins(struct attempt *attempt, struct worker_escrow *escrow)
{
    const struct worker_task *task = attempt->run.task;

    if (escrow->told_request == escrow->request)
        return;
    escrow->told_request = escrow->request;
    log_notice("%s/%s: waits for an approval: request %llu (%s); an admin runs: escrowctl approve "
               "%llu --escrowd %s",
               task->instance->name, task->database, (unsigned long long)escrow->request,
               reason_code(attempt->run.result.reason), (unsigned long long)escrow->request,
               task->config->escrowds[escrow - attempt->escrows].server_id);
}

/* How many have a request that waits for their admins. */
static unsigned count_requests(struct attempt *attempt)
{
    unsigned count = 0;

    for (size_t i = 0; i < AGENT_ESCROWDS_MAX; i++) {
        if (attempt->escrows[i].request == 0)
            continue;
        tell_admins(attempt, &attempt->escrows[i]);
        count++;
    }
    return count;
}

/* The length of the next round. */
static unsigned await_s(struct attempt *attempt)
{
    attempt->await_s = attempt->await_s ? 2 * attempt->await_s : AWAIT_ECHO_S;
    if (attempt->await_s > AWAIT_S || attempt->run.result.reason != REASON_ECHO_MISSING)
        attempt->await_s = AWAIT_S;
    return attempt->await_s;
}

/*
 * Asks each escrowd with a request in turn what its admins have decided. ESCROW_OK: to be asked for
 * the release now; ESCROW_ERR_TIMEOUT: nothing new; ESCROW_ERR_NOT_FOUND: no request is left.
 * Everything else: the parent is gone.
 */
static enum escrow_err await_round(struct attempt *attempt, unsigned count)
{
    unsigned round_s = await_s(attempt);
    int wait_s = round_s > count ? (int)(round_s / count) : 1;
    enum escrow_err err = ESCROW_OK;

    for (size_t i = 0; i < AGENT_ESCROWDS_MAX; i++) {
        struct worker_escrow *escrow = &attempt->escrows[i];
        int held_ms = 0;

        if (escrow->request == 0)
            continue;
        err =
            escrow->config ? worker_escrow_await(escrow, (unsigned)wait_s) : ESCROW_ERR_UNAVAILABLE;
        if (!err) {
            attempt->first = i;
            return ESCROW_OK;
        }
        if (err != ESCROW_ERR_TIMEOUT && err != ESCROW_ERR_NOT_FOUND)
            held_ms = wait_s * 1000;
        err = worker_run_pause(&attempt->run, held_ms);
        if (err != ESCROW_ERR_TIMEOUT)
            return err;
    }
    return count_requests(attempt) > 0 ? ESCROW_ERR_TIMEOUT : ESCROW_ERR_NOT_FOUND;
}

/*
 * Waits until the escrowds are to be asked again: the admins of one have approved, the parent says
 * so, or a round is over, because what needed admins may be so too. False: there is nothing to wait
 * for, or the master key opens by itself; the result says so. The key that the password is to be
 * wrapped to stays in this process.
 */
static bool await_admins(struct attempt *attempt)
{
    struct worker_run *run = &attempt->run;
    unsigned count = count_requests(attempt);
    bool is_first = run->wait_by_ms == 0, opens = false;
    enum escrow_err err = ESCROW_ERR_TIMEOUT;

    if (count == 0 || worker_run_wait_begin(run))
        return false;
    if (!is_first)
        err = worker_run_pause(run, AWAIT_PAUSE_MS);
    if (err == ESCROW_ERR_TIMEOUT)
        err = await_round(attempt, count);
    if (err == ESCROW_ERR_TIMEOUT)
        err = worker_sql_opens(&attempt->sql, &opens);
    if (!err && opens) {
        worker_run_fail(run, WORKER_ALREADY_OPEN, "%s", "");
        return false;
    }
    return !err && worker_run_wait_end(run) == ESCROW_OK;
}

/* Connected to the escrowd that is asked first; without that, it is connected to when needed. */
static void get_ready(struct attempt *attempt)
{
    struct worker_run *run = &attempt->run;
    const struct worker_task *task = run->task;

    worker_run_limit(run, READY_CONNECT_MS);
    if (worker_escrow_init(&attempt->escrows[0], run, &attempt->identity,
                           &task->config->escrowds[0])) {
        log_info("%s/%s: not ready: %s", task->instance->name, task->database, run->result.text);
        worker_escrow_deinit(&attempt->escrows[0]);
    } else {
        log_info("%s/%s: ready, and waits until it is needed", task->instance->name,
                 task->database);
    }
}

/*
 * Everything up to the parent's go, and no more: on a replica that may be on its way to be primary
 * nothing is asked for.
 */
static enum escrow_err reach_go(struct attempt *attempt)
{
    struct worker_run *run = &attempt->run;
    enum escrow_err err;

    if (worker_identity_init(&attempt->identity, run) || worker_sql_init(&attempt->sql, run))
        return ESCROW_ERR_UNAVAILABLE;
    err = worker_run_await_go(run, 0);
    if (err == ESCROW_ERR_TIMEOUT) {
        get_ready(attempt);
        err = worker_run_await_go(run, WORKER_READY_MS);
    }
    if (err == ESCROW_ERR_TIMEOUT)
        worker_run_fail(run, WORKER_LOCAL, "it was not needed for %d s", WORKER_READY_MS / 1000);
    else if (err)
        worker_run_fail(run, WORKER_LOCAL, "the parent has not said go: %s", escrow_err_name(err));
    return err;
}

static void attempt_once(struct attempt *attempt)
{
    struct worker_run *run = &attempt->run;
    bool opens = false;

    if (reach_go(attempt) || worker_sql_enter(&attempt->sql) ||
        worker_sql_opens(&attempt->sql, &opens))
        return;
    if (opens) {
        run->result.outcome = WORKER_ALREADY_OPEN;
        return;
    }
    while (!ask_all(attempt) && await_admins(attempt))
        continue;
    key_free_p(&attempt->recipient);
    worker_run_end(run);
}

/* What must hold before anything secret is read. */
static enum escrow_err prepare(const struct worker_task *task)
{
    const struct sql_instance sql = agent_config_sql(task->instance);
    enum escrow_err err = agent_harden_memory();

    if (!err)
        err = sql_environment_new(&sql);
    return err ? err : agent_sandbox_worker(task->config, task->instance);
}

/* The process ends by itself: when it has waited for too long, or when its attempt takes too long.
 */
static enum escrow_err begin(struct worker_run *run)
{
    enum escrow_err err = worker_run_alarm(WORKER_READY_MS + READY_GRACE_MS);

    if (!err)
        err = worker_run_await_go(run, 0);
    if (err && err != ESCROW_ERR_TIMEOUT)
        return err;
    return prepare(run->task);
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
    err = begin(&attempt.run);
    if (err)
        worker_run_fail(&attempt.run, WORKER_LOCAL,
                        "the worker cannot be made safe (%s), see the lines above",
                        escrow_err_name(err));
    else
        attempt_once(&attempt);
    for (size_t i = 0; i < AGENT_ESCROWDS_MAX; i++)
        worker_escrow_deinit(&attempt.escrows[i]);
    worker_sql_deinit(&attempt.sql);
    worker_identity_deinit(&attempt.identity);
    /* A part that failed without a word of its own had no memory or no randomness. */
    if (attempt.run.result.outcome == WORKER_DIED)
        worker_run_fail(&attempt.run, WORKER_LOCAL, "no memory, or OpenSSL failed");
    err = report(&attempt.run);
    /* The master key is open, and that is told: whatever becomes of this does not change it. */
    if (attempt.run.result.outcome == WORKER_OPENED && task->instance->is_catalog)
        worker_sql_catalog_startup(&attempt.sql);
    sql_environment_free();
    return err;
}

enum escrow_err worker_rehearse(const struct worker_task *task)
{
    struct worker_identity identity = {0};
    struct worker_run run;
    enum escrow_err err = worker_run_alarm(task->config->worker_deadline_ms);

    if (!err)
        err = prepare(task);
    if (err)
        return err;
    worker_run_init(&run, task);
    err = worker_identity_init(&identity, &run);
    worker_identity_deinit(&identity);
    for (size_t i = 0; i < task->config->escrowd_count && !err; i++) {
        CLEANUP(tls_free_p) struct tls *tls = NULL;

        err = rpc_server_tls(&task->config->escrowds[i], task->instance->certificate_file,
                             task->instance->key_file, &tls);
    }
    sql_environment_free();
    return err;
}
