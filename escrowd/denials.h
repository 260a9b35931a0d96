/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"
#include "libescrow/identity.h"
#include "libescrow/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Denials of the policy that are alike. Whoever is denied can ask again as fast as he likes, and
 * the record of a decision, with all that it rested on, is large: so it is known here of which
 * denials one has a record of this minute, and how many like it have come since without one of
 * their own. Memory only, and bounded. It decides nothing, and forgets nothing before it has been
 * told of.
 */
#define DENIALS_ROWS 1024 /* kinds within a minute */
#define DENIALS_MINUTE_MS 60000

struct denials;

/* What two denials have in common that are alike; the facts behind them may differ. */
struct denial {
    char actor[IDENTITY_MAX + 1];
    struct tpm_name key; /* of the act */
    struct act_subject subject;
    char replica[NAME_MAX_BYTES + 1];
    enum act_purpose purpose;
    enum reason reason;
    uint64_t epoch; /* of the group when it was decided */
};

/* NULL without memory. */
struct denials *denials_new(void);
void denials_free(struct denials *denials);

/* One like it is known: those after it can be counted. */
bool denials_has(const struct denials *denials, const struct denial *denial);
bool denials_is_full(const struct denials *denials);
/* It has this record; now_ms by CLOCK_BOOTTIME. Nothing happens if one like it is known, or there
 * is no room. */
void denials_note(struct denials *denials, const struct denial *denial, uint64_t record,
                  int64_t now_ms);
/* Counts one more like it; false if none is known. */
bool denials_count(struct denials *denials, const struct denial *denial);

/* How many without a record came after one with this. */
struct denial_summary {
    const struct denial *denial;
    uint64_t record, count;
};

/*
 * Forgets every kind whose minute is over (all: every one). on_summary is called before it for one
 * of which some were counted; if it returns false, that one stays for the next time.
 */
typedef bool (*denial_summary_fn)(const struct denial_summary *summary, void *argument);
void denials_flush(struct denials *denials, int64_t now_ms, bool all, denial_summary_fn on_summary,
                   void *argument);
