/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/fault/disk.h"
#include "tests/fault/oracle.h"
#include "tests/unit/keeper_fixture.h"

/*
 * A keeper whose disk is known (disk.h), whose wall clock can be put forward, and whose log and
 * ledger are judged. Failures end the program with a message.
 */

#define KILL_RETRIES 6 /* of the policy */
/* How long what the keeper does by itself is waited for. */
#define KILL_TRIES 200
#define KILL_TRY_MS 50

struct kill_world {
    struct keeper_fixture fx;
    struct oracle *oracle;
    struct disk *disk;
    int primary;           /* the replica that is */
    unsigned round;        /* of the history */
    unsigned rosters;      /* the version published last */
    uint64_t grant;        /* of the promotion, that was received last */
    uint64_t drill;        /* of the order */
    uint64_t proving;      /* the grant whose proof is waited for */
    char order[64];        /* its id */
    uint64_t request;      /* that waits for admins */
    struct tpm_name asked; /* the object that it is for */
    EVP_PKEY *recipient;   /* and the key */
    unsigned promises;     /* acknowledged so far */
    int64_t passed_ms;     /* by the wall clock alone */
};

/* A keeper with its first roster and a primary; sibling as of struct fx_options. */
void kill_world_start(struct kill_world *world, const struct keeper_fixture *sibling);
void kill_world_stop(struct kill_world *world);
/* Nothing is left to do for what was sent before. False: the keeper is gone. */
bool kill_settle(struct kill_world *world);
/* Whether it is ready, within the deadline; false too when it is gone. */
bool kill_is_well(struct kill_world *world);
/* It must be. */
void kill_wait_well(struct kill_world *world);
/* The power fails, for the TPM too (disk.h); the keeper was killed before. */
void kill_cut_power(struct kill_world *world, enum disk_loss of_log, enum disk_loss of_store,
                    uint64_t seed);
/* The log is another one from now on: what was promised before is not looked for in it. */
void kill_forget(struct kill_world *world);
/* Puts the wall clock of all keepers forward, until the next world starts. */
void kill_pass_time(struct kill_world *world, int64_t ms);
void kill_store_path(const struct kill_world *world, char ret_path[static 400]);
/* Log and ledger are as kill_judge.h and oracle.h say; the keeper runs, and nothing is under way.
 */
void kill_judge(struct kill_world *world);
