/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/fault/inject.h"
#include "tests/fault/oracle.h"
#include "tests/unit/keeper_fixture.h"

/*
 * A keeper that runs into failures on order while it serves, and the judgement of what it did. A
 * failure ends the program with the order that led to it.
 */
struct fault_world {
    struct keeper_fixture fx;
    struct oracle *oracle;
    int primary;      /* the replica that is */
    bool is_granted;  /* the password */
    unsigned rosters; /* the version published last */
    int64_t requests; /* for an approval, so far */
    unsigned served;  /* acts, since the world began */
};

/* An honest piece of work: true if all of it was answered by success. Asserts what each answer
 * holds. */
typedef bool (*fault_work)(struct fault_world *world);

bool fault_deposit(struct fault_world *world);
bool fault_warm_up(struct fault_world *world);
bool fault_release(struct fault_world *world);
bool fault_receipt(struct fault_world *world);
bool fault_order(struct fault_world *world);
bool fault_approve(struct fault_world *world);
bool fault_rebaseline(struct fault_world *world);
bool fault_publish(struct fault_world *world);
bool fault_queries(struct fault_world *world);

/* A keeper with nothing, not even a roster. */
void fault_world_open(struct fault_world *world);
/* With a roster, one deposit and a primary. */
void fault_world_start(struct fault_world *world);
/* Judges and ends it. */
void fault_world_stop(struct fault_world *world);
/* Ends one that holds no deposit: there is nothing to judge. */
void fault_world_close(struct fault_world *world);

/*
 * Does the work under the order; then, with nothing failing, the keeper must be ready again and the
 * same work must succeed. Returns what the failures were.
 */
struct inject_report fault_try(struct fault_world *world, fault_work work,
                               const struct inject_order *order);
/*
 * Ends the keeper and starts it under the order, for FX_SLOW_MS at most; then, with nothing
 * failing, it must become ready, by itself if it still runs.
 */
struct inject_report fault_try_start(struct fault_world *world, const struct inject_order *order);
/* Everything that was promised so far is in the log, and the keeper holds it. */
void fault_judge(struct fault_world *world);
