/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/agent_config.h"
#include "client/worker_result.h"
#include "libescrow/answer.h"

/*
 * What a worker asks for next, and which of several refusals tells most: pure, and small enough to
 * be shown by tables. Asks for as little as will do: a version that the database has refused is
 * never asked for again, and older ones only after the active one was refused.
 */

/* What all escrowds can offer: beyond that nothing is asked for. */
#define WORKER_TRIED_MAX (AGENT_ESCROWDS_MAX * ACT_OBJECTS_MAX)

/* The objects whose passwords the database has refused, from whichever escrowd. */
struct worker_tried {
    size_t count;
    struct tpm_name names[WORKER_TRIED_MAX];
};

/* Objects of a challenge, by their index. */
struct worker_choice {
    size_t count;
    size_t index[ACT_OBJECTS_MAX];
};

/* The active version alone; without it (or when it was tried) all others, in the challenge's order.
 * Count 0: there is nothing left to ask for. */
struct worker_choice worker_choose(const struct answer *challenge,
                                   const struct worker_tried *tried);

/* Notes what was asked for, whether or not the grant held it. */
void worker_note_tried(struct worker_tried *tried, const struct answer *challenge,
                       const struct worker_choice *choice);

/*
 * How much a failure at one escrowd tells beside those at the others, from 1; 0: it is not about
 * escrowd, so no other one would help.
 */
unsigned worker_weight(enum worker_outcome outcome);
