/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/refusals.h"

#include "libescrow/identity.h"

#include <stdlib.h>
#include <string.h>

struct row {
    char source[IDENTITY_MAX + 1];
    enum reason reason; /* REASON_NONE: the row of the records */
    int64_t since_ms;
    uint64_t count;
};

struct refusals {
    size_t count;
    /* The last one stands for all that found no place; its source is empty. */
    struct row rows[REFUSALS_ROWS + 1];
};

struct refusals *refusals_new(void)
{
    return calloc(1, sizeof(struct refusals));
}

void refusals_free(struct refusals *refusals)
{
    free(refusals);
}

static struct row *find_row(struct refusals *refusals, const char *source, enum reason reason,
                            int64_t now_ms)
{
    struct row *row = &refusals->rows[REFUSALS_ROWS];

    for (size_t i = 0; i < refusals->count; i++) {
        if (refusals->rows[i].reason == reason && strcmp(refusals->rows[i].source, source) == 0)
            return &refusals->rows[i];
    }
    if (refusals->count < REFUSALS_ROWS && strlen(source) <= IDENTITY_MAX) {
        row = &refusals->rows[refusals->count++];
        memset(row, 0, sizeof(*row));
        memcpy(row->source, source, strlen(source) + 1);
        row->since_ms = now_ms;
    }
    if (row->since_ms == 0)
        row->since_ms = now_ms;
    if (reason)
        row->reason = reason;
    return row;
}

bool refusals_may_record(struct refusals *refusals, const char *source, int64_t now_ms)
{
    struct row *row = find_row(refusals, source, REASON_NONE, now_ms);

    /* Without a row of its own it is not known how many it has had. */
    if (row == &refusals->rows[REFUSALS_ROWS] || row->count >= REFUSALS_QUOTA)
        return false;
    row->count++;
    return true;
}

void refusals_count(struct refusals *refusals, const struct refusal_summary *summary,
                    int64_t now_ms)
{
    find_row(refusals, summary->source, summary->reason, now_ms)->count += summary->count;
}

static void summarise(const struct row *row, refusal_summary_fn on_summary, void *argument)
{
    const struct refusal_summary summary = {row->source, row->reason, row->count};

    if (row->reason && row->count)
        on_summary(&summary, argument);
}

void refusals_flush(struct refusals *refusals, int64_t now_ms, bool all,
                    refusal_summary_fn on_summary, void *argument)
{
    struct row *rest = &refusals->rows[REFUSALS_ROWS];

    for (size_t i = refusals->count; i-- > 0;) {
        if (!all && now_ms - refusals->rows[i].since_ms < REFUSALS_MINUTE_MS)
            continue;
        summarise(&refusals->rows[i], on_summary, argument);
        refusals->rows[i] = refusals->rows[--refusals->count];
    }
    if (rest->since_ms && (all || now_ms - rest->since_ms >= REFUSALS_MINUTE_MS)) {
        summarise(rest, on_summary, argument);
        memset(rest, 0, sizeof(*rest));
    }
}
