/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_refusals.h"

#include "libescrow/identity.h"

#include <stdlib.h>
#include <string.h>

struct source {
    char name[IDENTITY_MAX + 1];
    int64_t since_ms;
    uint64_t recorded;
    uint64_t counted;
    enum reason last;
};

struct refusals {
    size_t count;
    /* The last one stands for all that found no place; its name is empty. */
    struct source sources[REFUSALS_SOURCES + 1];
};

struct refusals *refusals_new(void)
{
    return calloc(1, sizeof(struct refusals));
}

void refusals_free(struct refusals *refusals)
{
    free(refusals);
}

static struct source *find_source(struct refusals *refusals, const char *name, int64_t now_ms)
{
    struct source *source = &refusals->sources[REFUSALS_SOURCES];

    for (size_t i = 0; i < refusals->count; i++) {
        if (strcmp(refusals->sources[i].name, name) == 0)
            return &refusals->sources[i];
    }
    if (refusals->count < REFUSALS_SOURCES && strlen(name) <= IDENTITY_MAX) {
        source = &refusals->sources[refusals->count++];
        memset(source, 0, sizeof(*source));
        memcpy(source->name, name, strlen(name) + 1);
        source->since_ms = now_ms;
    }
    if (source->since_ms == 0)
        source->since_ms = now_ms;
    return source;
}

bool refusals_may_record(struct refusals *refusals, const char *source, int64_t now_ms)
{
    struct source *found = find_source(refusals, source, now_ms);

    if (found->recorded >= REFUSALS_QUOTA)
        return false;
    found->recorded++;
    return true;
}

void refusals_count(struct refusals *refusals, const char *source, enum reason reason,
                    int64_t now_ms)
{
    struct source *found = find_source(refusals, source, now_ms);

    found->counted++;
    found->last = reason;
}

static void summarise(const struct source *source, refusal_summary_fn on_summary, void *argument)
{
    const struct refusal_summary summary = {source->name, source->counted, source->last};

    if (source->counted)
        on_summary(&summary, argument);
}

void refusals_flush(struct refusals *refusals, int64_t now_ms, bool all,
                    refusal_summary_fn on_summary, void *argument)
{
    struct source *rest = &refusals->sources[REFUSALS_SOURCES];

    for (size_t i = refusals->count; i-- > 0;) {
        if (!all && now_ms - refusals->sources[i].since_ms < REFUSALS_MINUTE_MS)
            continue;
        summarise(&refusals->sources[i], on_summary, argument);
        refusals->sources[i] = refusals->sources[--refusals->count];
    }
    if (rest->since_ms && (all || now_ms - rest->since_ms >= REFUSALS_MINUTE_MS)) {
        summarise(rest, on_summary, argument);
        memset(rest, 0, sizeof(*rest));
    }
}
