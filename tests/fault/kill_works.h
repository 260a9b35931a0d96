/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/fault/kill_world.h"

/*
 * A history, in pieces: each piece of work is done once, is cut short where the keeper is killed,
 * and is done again by the client, as a client does. The history is the order of the table; it can
 * be gone through again and again. Failures end the program with a message.
 */

struct kill_work {
    const char *name;
    /*
     * True: everything was answered as it must be. is_again: the last time was cut short, after
     * some of it may have been recorded.
     */
    bool (*run)(struct kill_world *world, bool is_again);
    /* Waits by the clock, and none of the others needs it; these, after the others, go together. */
    bool is_rare;
};

/* The table, and its length. */
const struct kill_work *kill_works(size_t *ret_count);
/* A promotion whose agent asks as often as the policy lets it, and once more. */
void kill_exhaust(struct kill_world *world);
