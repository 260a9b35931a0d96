/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_told.h"

#include "libescrow/log.h"

static void keep(struct keeper *keeper, uint64_t sequence)
{
    if (sequence <= keeper->told || keeper->is_store_behind)
        return;
    if (store_set_told(keeper->store, sequence))
        log_warning("up to where alerts were told cannot be kept");
    else
        keeper->told = sequence;
}

/* Whoever gets a command tomorrow does not want to know of today. */
static void forget(struct keeper *keeper)
{
    if (keeper->told > 0 && store_set_told(keeper->store, 0))
        log_warning("up to where alerts were told cannot be forgotten");
}

static enum escrow_err on_line(const struct audit_line *line, void *argument)
{
    struct keeper *keeper = argument;

    keeper_alerts_record(keeper->alerts, line->record);
    return ESCROW_OK;
}

static void tell_again(struct keeper *keeper)
{
    struct audit_reading reading = {0};

    if (audit_read(keeper->config->audit_folder, keeper->told + 1, on_line, keeper, &reading))
        log_warning("alerts of before this start cannot be told: the log cannot be read");
}

void keeper_told_resume(struct keeper *keeper)
{
    uint64_t end;

    if (!keeper->audit || store_told(keeper->store, &keeper->told))
        return;
    end = audit_end(keeper->audit)->sequence;
    if (!keeper->config->alert.command)
        forget(keeper);
    else if (keeper->told == 0)
        keep(keeper, end);
    else if (keeper->told < end)
        tell_again(keeper);
}

void keeper_told_tick(struct keeper *keeper)
{
    if (keeper->config->alert.command && keeper->audit)
        keep(keeper, keeper_alerts_told(keeper->alerts));
}

void keeper_told_end(struct keeper *keeper)
{
    if (keeper->config->alert.command && keeper->audit)
        keep(keeper, audit_end(keeper->audit)->sequence);
}
