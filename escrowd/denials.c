/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/denials.h"

#include <stdlib.h>
#include <string.h>

struct row {
    struct denial denial;
    uint64_t record, count;
    int64_t since_ms;
};

struct denials {
    size_t count;
    struct row rows[DENIALS_ROWS];
};

struct denials *denials_new(void)
{
    return calloc(1, sizeof(struct denials));
}

void denials_free(struct denials *denials)
{
    free(denials);
}

static bool is_alike(const struct denial *a, const struct denial *b)
{
    return a->reason == b->reason && a->epoch == b->epoch && a->purpose == b->purpose &&
           tpm_name_equal(&a->key, &b->key) && strcmp(a->actor, b->actor) == 0 &&
           strcmp(a->subject.group, b->subject.group) == 0 &&
           strcmp(a->subject.database, b->subject.database) == 0 &&
           strcmp(a->replica, b->replica) == 0;
}

/* The row's number; denials->count if there is none. */
static size_t find(const struct denials *denials, const struct denial *denial)
{
    size_t i = 0;

    while (i < denials->count && !is_alike(&denials->rows[i].denial, denial))
        i++;
    return i;
}

bool denials_has(const struct denials *denials, const struct denial *denial)
{
    return find(denials, denial) < denials->count;
}

bool denials_is_full(const struct denials *denials)
{
    return denials->count == DENIALS_ROWS;
}

void denials_note(struct denials *denials, const struct denial *denial, uint64_t record,
                  int64_t now_ms)
{
    if (denials_has(denials, denial) || denials_is_full(denials))
        return;
    denials->rows[denials->count++] =
        (struct row){.denial = *denial, .record = record, .since_ms = now_ms};
}

bool denials_count(struct denials *denials, const struct denial *denial)
{
    size_t i = find(denials, denial);

    if (i == denials->count)
        return false;
    denials->rows[i].count++;
    return true;
}

void denials_flush(struct denials *denials, int64_t now_ms, bool all, denial_summary_fn on_summary,
                   void *argument)
{
    for (size_t i = denials->count; i-- > 0;) {
        struct row *row = &denials->rows[i];
        const struct denial_summary summary = {&row->denial, row->record, row->count};

        if (!all && now_ms - row->since_ms < DENIALS_MINUTE_MS)
            continue;
        if (row->count == 0 || on_summary(&summary, argument))
            *row = denials->rows[--denials->count];
    }
}
