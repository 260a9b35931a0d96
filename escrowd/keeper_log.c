/* SPDX-License-Identifier: Apache-2.0 */
/* Log and store of keeper_state.h. */
#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/store_secrets.h"
#include "libescrow/log.h"

#include <string.h>

#define IMPORTS_PER_SECOND 10
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

enum escrow_err keeper_import(struct keeper *keeper, struct store_version *version)
{
    struct wrap_object object;
    struct wrap_blob blob;
    enum escrow_err err;

    if (version->private_area.len)
        return ESCROW_OK;
    err = wrap_object_parse(version->public_area, version->public_len, &object);
    if (!err)
        err = store_blob(keeper->store, &version->object, &keeper->member->names.storage, &blob);
    if (!err)
        err = tpm_import(keeper->tpm, &object, &blob, &version->private_area);
    if (!err)
        err = store_set_private(keeper->store, &version->object, &version->private_area);
    if (err == ESCROW_ERR_UNAVAILABLE)
        keeper->is_tpm_well = false;
    return err;
}

/* After the store was rebuilt: the TPM's private areas are made again from this member's blobs. */
static void import_some(struct keeper *keeper)
{
    struct store_version version = {0}; /* 0: none was read */
    enum escrow_err err = ESCROW_OK;

    for (int i = 0; !err && i < IMPORTS_PER_SECOND; i++) {
        err = store_next_unimported(keeper->store, &version);
        if (!err)
            err = keeper_import(keeper, &version);
    }
    if (!err || err == ESCROW_ERR_UNAVAILABLE)
        return;
    keeper->is_import_pending = false;
    if (err != ESCROW_ERR_NOT_FOUND)
        log_error("version %u (record of a deposit) cannot be imported: %s",
                  (unsigned)version.version, escrow_err_name(err));
}

void keeper_mend(struct keeper *keeper)
{
    /* A log that can be written again may have a record that the store could not take. */
    if (keeper->audit && audit_recover(keeper->audit) && !audit_trouble(keeper->audit))
        keeper->is_store_behind = true;
    if (keeper->audit && !audit_trouble(keeper->audit) && keeper->is_store_behind)
        catch_up(keeper);
    if (keeper->is_import_pending && keeper->is_tpm_well && !keeper->is_store_behind)
        import_some(keeper);
    keeper_tell_status(keeper);
}
