/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy_scene.h"

/*
 * Scenes from a seed, the same on every machine: policy, request, facts and ledger take few values
 * each, so that all rules pass often enough and every combination of two comes up.
 */
struct random {
    uint64_t state; /* never 0 */
};

/* 0 ..= bound - 1 */
size_t random_below(struct random *random, size_t bound);
/* A group of 2 to 5 replicas of which B has most often just become primary. */
void random_scene(struct random *random, struct scene *ret_scene);
