/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_moot.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_approve.h"
#include "escrowd/keeper_state.h"
#include "escrowd/target.h"
#include "libescrow/log.h"

#include <stdlib.h>

/* Whoever has just asked knows better than the replica's next answer. */
#define WAITED_MS 15000

struct moot {
    struct keeper *keeper;
    struct store_request pending; /* that was asked about last; its sequence: 0 before the first */
    uint64_t question;            /* 0: none is open */
};

/* What is ordered, to rotate or to drill, is for a master key that opens. */
static bool is_for_closed_key(const struct store_request *pending)
{
    return pending->purpose == PURPOSE_PROMOTE;
}

/* It may have been answered meanwhile, or have made place for another: then it has no act. */
static bool is_open(const struct moot *moot)
{
    struct store_request now = {0};
    CLEANUP(cleanup_free) char *act = NULL;

    return store_request(moot->keeper->store, moot->pending.sequence, &now, &act) == ESCROW_OK &&
           act;
}

static void on_answer(const struct prober_answer *answer, void *argument)
{
    struct moot *moot = argument;

    moot->question = 0;
    if (!answer->opens || answer->opens->opens != PROBE_OPENS_YES || !is_open(moot))
        return;
    if (approve_end(moot->keeper, &moot->pending, REASON_MASTER_KEY_OPENS))
        log_warning("the end of request %llu cannot be recorded now",
                    (unsigned long long)moot->pending.sequence);
}

static void ask(struct moot *moot)
{
    const struct keeper *keeper = moot->keeper;
    const struct store_request *pending = &moot->pending;
    struct prober_ask ask = {.instance = pending->replica,
                             .asker = "moot",
                             .type = IPC_PROBE_ASK_OPENS,
                             .on_answer = on_answer,
                             .argument = moot};
    struct target target;
    uint64_t id;

    if (target_find(keeper->policy, &pending->subject, &target) ||
        target_number(keeper->policy, ask.instance, &target, &ask.question.target) ||
        probers_ask(keeper->probers, &ask, &id))
        return;
    moot->question = id;
}

void moot_tick(struct moot *moot)
{
    struct keeper *keeper = moot->keeper;
    enum escrow_err err;

    if (moot->question || keeper->is_stopping || keeper_lacks(keeper, KEEPER_NEEDS_LOG))
        return;
    err = store_next_open(keeper->store, clock_wall_ms(), moot->pending.sequence, &moot->pending);
    if (err)
        moot->pending.sequence = 0; /* from the first one again */
    else if (is_for_closed_key(&moot->pending) &&
             clock_wall_ms() - moot->pending.time_ms >= WAITED_MS)
        ask(moot);
}

enum escrow_err moot_new(struct keeper *keeper, struct moot **ret_moot)
{
    struct moot *moot = calloc(1, sizeof(*moot));

    if (!moot)
        return ESCROW_ERR_NO_MEMORY;
    moot->keeper = keeper;
    *ret_moot = moot;
    return ESCROW_OK;
}

void moot_free(struct moot *moot)
{
    if (!moot)
        return;
    if (moot->question)
        probers_forget(moot->keeper->probers, moot->question);
    free(moot);
}
