/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/decide.h"

#include <jansson.h>

/*
 * What the watch remembers of one replica with one database: the history that a decision rests on
 * (struct policy_history), and what an operator is told. It asks nobody, judges nothing, and is
 * never written anywhere.
 */
struct memory {
    bool is_known;
    struct probe_state last; /* outcome and diagnosis of the last question that was answered */
    int32_t last_role;       /* in the last state that it told; counts once answered_ms is set */
    bool was_synchronised;   /* struct policy_history; whoever judges a round sets it */
    bool is_answering;       /* its last question got a state: that in last */
    /* By CLOCK_BOOTTIME, 0 for never. */
    int64_t heard_ms;    /* last outcome of any kind */
    int64_t answered_ms; /* last state */
    int64_t primary_ms;  /* last state that said PRIMARY */
    int64_t refusing_ms; /* since when every connection is refused */
    /* What the log has said of it: that it answers, that it is silent, or an outcome. */
    enum { MEMORY_ANSWERS, MEMORY_SILENT, MEMORY_FAILED } told;
    enum probe_outcome told_outcome;
    int32_t told_error;
};

/* An answer of its prober, if only that it cannot connect. */
void memory_hear(struct memory *memory, const struct probe_state *state);
/* It did not answer in time. */
void memory_silence(struct memory *memory);

/*
 * Notes what the log is told now; NULL: silence. False if that is what it was told last: only
 * changes are said.
 */
bool memory_tell(struct memory *memory, const struct probe_state *state);

/* Nobody was asked for so long: that is neither silence nor death. */
void memory_sleep(struct memory *memory, int64_t slept_ms);

/* slept_ms: for so long nobody has been asked, up to now. */
void memory_history(const struct memory *memory, int64_t slept_ms,
                    struct policy_history *ret_history);

/* A replica of GET /v1/status; NULL without memory. */
json_t *memory_json(const struct memory *memory, const char *instance);
