/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/fault/disk.h"
#include "tests/fault/oracle.h"
#include "tests/unit/keeper_fixture.h"

/*
 * A history, in pieces: each piece of work is done once, is cut short where the keeper is killed,
 * and is done again by the client, as a client does. The history is the order of the table; it can
 * be gone through again and again. Failures end the program with a message.
 */

#define KILL_RETRIES 6 /* of the policy */

struct kill_world {
    struct keeper_fixture fx;
    struct oracle *oracle;
    struct disk *disk;
    int primary;           /* the replica that is */
    unsigned round;        /* of the history */
    unsigned rosters;      /* the version published last */
    uint64_t grant;        /* of the promotion, that was received last */
    uint64_t drill;        /* of the order */
    char order[64];        /* its id */
    uint64_t request;      /* that waits for admins */
    struct tpm_name asked; /* the object that it is for */
    EVP_PKEY *recipient;   /* and the key */
    unsigned promises;     /* acknowledged so far */
};

struct kill_work {
    const char *name;
    /*
     * True: everything was answered as it must be. is_again: the last time was cut short, after
     * some of it may have been recorded.
     */
    bool (*run)(struct kill_world *world, bool is_again);
};

/* The table, and its length. */
const struct kill_work *kill_works(size_t *ret_count);

/* A keeper with its first roster and a primary; sibling as of struct fx_options. */
void kill_world_start(struct kill_world *world, const struct keeper_fixture *sibling);
void kill_world_stop(struct kill_world *world);
/* Nothing is left to do for what was sent before. False: the keeper is gone. */
bool kill_settle(struct kill_world *world);
/* Ready, within the deadline. */
void kill_wait_well(struct kill_world *world);
/* A promotion whose agent asks as often as the policy lets it, and once more. */
void kill_exhaust(struct kill_world *world);
/* Log and ledger are as kill_judge.h and oracle.h say; the keeper runs, and nothing is under way.
 */
void kill_judge(struct kill_world *world);
