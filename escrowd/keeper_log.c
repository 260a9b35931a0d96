/* SPDX-License-Identifier: Apache-2.0 */
/* Log and store of keeper_state.h. */
#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "libescrow/log.h"

#include <string.h>

#define COMMIT_DELAY_MS 10

void keeper_record(const struct keeper *keeper, enum audit_event event,
                   struct audit_record *ret_record)
{
    const struct roster *roster = ledger_roster(keeper->ledger);

    memset(ret_record, 0, sizeof(*ret_record));
    ret_record->event = event;
    ret_record->rules = keeper->rules;
    ret_record->roster = roster ? roster_version(roster) : 0;
}

enum escrow_err keeper_append(struct keeper *keeper, const struct audit_record *record,
                              audit_durable_fn on_durable, void *argument)
{
    enum escrow_err err;

    if (!keeper->audit)
        return ESCROW_ERR_STORE;
    err = audit_append(keeper->audit, record, on_durable, argument);
    if (err)
        return err;
    if (audit_queued(keeper->audit) == 1)
        keeper->queued_ms = clock_boot_ms();
    event_active(keeper->flush, EV_TIMEOUT, 0);
    return ESCROW_OK;
}

void keeper_flush(struct keeper *keeper)
{
    if (!keeper->audit || audit_queued(keeper->audit) == 0)
        return;
    if (audit_commit(keeper->audit) && !audit_trouble(keeper->audit))
        keeper->is_store_behind = true;
    keeper_tell_status(keeper);
}

void keeper_flush_late(struct keeper *keeper)
{
    if (keeper->audit && audit_queued(keeper->audit) > 0 &&
        clock_boot_ms() - keeper->queued_ms >= COMMIT_DELAY_MS)
        keeper_flush(keeper);
}

/* The log has records that the store could not take: reads them again. */
static void catch_up(struct keeper *keeper)
{
    struct audit_reading reading;

    if (ledger_replay(keeper->ledger, keeper->config->audit_folder, &reading))
        return;
    keeper->is_store_behind = false;
    keeper->is_import_pending = true;
}

void keeper_mend(struct keeper *keeper)
{
    /* A log that can be written again may have a record that the store could not take. */
    if (keeper->audit && audit_recover(keeper->audit) && !audit_trouble(keeper->audit))
        keeper->is_store_behind = true;
    if (keeper->audit && !audit_trouble(keeper->audit) && keeper->is_store_behind)
        catch_up(keeper);
    keeper_tell_status(keeper);
}
