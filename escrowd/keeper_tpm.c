/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_tpm.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/store_secrets.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>

#define AT_WORK_MAX 2
#define CHECK_MS 5000 /* while it is well; every tick while it is not */
#define IMPORTS_PER_SECOND 10

/* ---- the keeper's own jobs ---- */

static void note_check(struct keeper *keeper, enum escrow_err err)
{
    bool was_well = keeper->is_tpm_well;

    keeper->is_tpm_well = err == ESCROW_OK;
    if (keeper->is_tpm_well && !was_well)
        keeper->is_import_pending = true;
    keeper_tell_status(keeper);
}

static void on_checked(struct tpm_job *job)
{
    struct keeper *keeper = job->owner;

    keeper->tpm_use.is_checking = false;
    note_check(keeper, job->err);
    warm_go(keeper->warm);
}

static void check(struct keeper *keeper)
{
    struct keeper_tpm *use = &keeper->tpm_use;
    int64_t now_ms = clock_boot_ms();

    if (use->is_checking || (keeper->is_tpm_well && now_ms < use->next_check_ms))
        return;
    use->next_check_ms = now_ms + CHECK_MS;
    use->is_checking = true;
    use->check = (struct tpm_job){.work = tpm_check_job, .done = on_checked, .owner = keeper};
    tpm_thread_do(use->thread, &use->check);
}

void keeper_tpm_doubt(struct keeper *keeper)
{
    keeper->tpm_use.next_check_ms = 0;
    check(keeper);
}

void keeper_tpm_imported(struct keeper *keeper, const struct tpm_name *object,
                         const struct tpm_private *private_area)
{
    if (store_set_private(keeper->store, object, private_area))
        keeper->is_import_pending = true;
}

static void import_next(struct keeper *keeper);

static void on_imported(struct tpm_job *job)
{
    struct keeper *keeper = job->owner;
    struct keeper_tpm *use = &keeper->tpm_use;

    use->is_importing = false;
    switch (job->err) {
    case ESCROW_OK:
        keeper_tpm_imported(keeper, &use->import_object, &use->import.private_area);
        use->has_imported = true;
        import_next(keeper);
        warm_go(keeper->warm);
        return;
    case ESCROW_ERR_UNAVAILABLE:
        keeper->is_tpm_well = false;
        return;
    default:
        keeper->is_import_pending = false;
        log_error("a version cannot be imported: %s", escrow_err_name(job->err));
    }
}

/* A version that the store has and this TPM has not, as after the store was rebuilt. */
static enum escrow_err find_import(const struct keeper *keeper, struct tpm_import_job *import,
                                   struct tpm_name *ret_object)
{
    struct store_version version;
    enum escrow_err err = store_next_unimported(keeper->store, &version);

    if (!err)
        err = wrap_object_parse(version.public_area, version.public_len, &import->object);
    if (!err)
        err = store_blob(keeper->store, &version.object, &keeper->member->names.storage,
                         &import->blob);
    if (!err)
        *ret_object = version.object;
    return err;
}

static void import_next(struct keeper *keeper)
{
    struct keeper_tpm *use = &keeper->tpm_use;
    enum escrow_err err;

    if (use->is_importing || use->imports_left == 0 || !keeper->is_import_pending ||
        !keeper->is_tpm_well || keeper->is_store_behind || keeper->is_stopping)
        return;
    use->imports_left--;
    use->import = (struct tpm_import_job){
        .job = {.work = tpm_import_job, .done = on_imported, .owner = keeper}};
    err = find_import(keeper, &use->import, &use->import_object);
    if (err) {
        keeper->is_import_pending = false;
        if (err != ESCROW_ERR_NOT_FOUND)
            log_error("a version cannot be imported: %s", escrow_err_name(err));
        if (use->has_imported)
            warm_objects(keeper->warm);
        use->has_imported = false;
        return;
    }
    use->is_importing = true;
    tpm_thread_do(use->thread, &use->import.job);
}

void keeper_tpm_init(struct keeper *keeper)
{
    turns_init(&keeper->tpm_use.turns);
}

enum escrow_err keeper_tpm_start(struct keeper *keeper)
{
    return tpm_thread_new(keeper->base, keeper->tpm, &keeper->tpm_use.thread);
}

void keeper_tpm_stop(struct keeper *keeper)
{
    if (keeper->tpm_use.thread)
        tpm_thread_stop(keeper->tpm_use.thread);
}

void keeper_tpm_deinit(struct keeper *keeper)
{
    if (keeper->tpm_use.thread)
        tpm_thread_free(keeper->tpm_use.thread);
    keeper->tpm_use.thread = NULL;
}

void keeper_tpm_tick(struct keeper *keeper)
{
    check(keeper);
    keeper->tpm_use.imports_left = IMPORTS_PER_SECOND;
    import_next(keeper);
    warm_go(keeper->warm);
}

bool keeper_tpm_is_idle(const struct keeper *keeper)
{
    const struct keeper_tpm *use = &keeper->tpm_use;

    return !use->is_checking && !use->is_importing && use->at_work == 0 && !turns_next(&use->turns);
}

/* ---- the requests ---- */

static void give_turns(struct keeper *keeper)
{
    struct keeper_tpm *use = &keeper->tpm_use;
    const struct turn *turn;

    while (use->at_work < AT_WORK_MAX && (turn = turns_next(&use->turns))) {
        turns_had(&use->turns, turn);
        request_advance(turn->owner, REQUEST_TURN);
    }
}

void keeper_tpm_wait(struct request *request, int64_t wait_ms)
{
    request->state = REQUEST_QUEUED;
    request->turn_by_ms = clock_boot_ms() + wait_ms;
    request_set_timer(request, wait_ms);
    if (request->state != REQUEST_QUEUED)
        return;
    turns_wait(&request->keeper->tpm_use.turns, &request->turn, request->identity, request);
    give_turns(request->keeper);
}

void keeper_tpm_leave(struct request *request)
{
    turns_leave(&request->keeper->tpm_use.turns, &request->turn);
}

enum reason keeper_tpm_refuses(const struct request *request)
{
    if (request->is_gone)
        return REASON_ROLE_DOWN;
    if (request->keeper->is_stopping)
        return REASON_SHUTTING_DOWN;
    if (clock_boot_ms() >= request->turn_by_ms)
        return REASON_DEADLINE;
    return keeper_lacks(request->keeper, KEEPER_NEEDS_ALL);
}

static void on_back(struct tpm_job *job)
{
    struct request *request = job->owner;
    struct keeper *keeper = request->keeper;

    keeper->tpm_use.at_work--;
    if (job->err == ESCROW_ERR_UNAVAILABLE)
        keeper->is_tpm_well = false;
    /* The TPM first: it has the next one while this one's answer is signed. */
    give_turns(keeper);
    request_advance(request, REQUEST_BACK);
    warm_go(keeper->warm);
}

void keeper_tpm_do(struct request *request, struct tpm_job *job)
{
    struct keeper_tpm *use = &request->keeper->tpm_use;

    job->owner = request;
    job->done = on_back;
    free(request->job);
    request->job = job;
    request->state = REQUEST_AT_TPM;
    event_del(request->timer);
    use->at_work++;
    tpm_thread_do(use->thread, job);
}

void keeper_tpm_drain(struct keeper *keeper)
{
    const struct turn *turn;

    while ((turn = turns_next(&keeper->tpm_use.turns)))
        request_advance(turn->owner, REQUEST_TURN);
}

enum reason keeper_tpm_reason(enum escrow_err err)
{
    switch (err) {
    case ESCROW_OK:
        return REASON_NONE;
    case ESCROW_ERR_UNAVAILABLE:
        return REASON_TPM_UNAVAILABLE;
    case ESCROW_ERR_TIMEOUT:
        return REASON_FACTS_OLD;
    case ESCROW_ERR_DENIED:
        return REASON_NO_HOST_APPROVAL;
    default:
        return REASON_TPM_REFUSED;
    }
}
