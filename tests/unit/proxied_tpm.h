/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/unit/swtpm.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Stands between a keeper and its swtpm (tests/bench/tpm_proxy.c): makes every command slower, and
 * writes each down. One may come after another. Functions end the program with a message if they
 * cannot do their job.
 */
struct proxied_tpm {
    char setting[160]; /* for the keeper */
    char log[128];
    pid_t pid; /* 0 while it does not run */
};

void proxied_start(struct proxied_tpm *proxied, const struct swtpm *swtpm, unsigned command_us);
void proxied_stop(struct proxied_tpm *proxied);

/* How many commands were sent so far; those that only ask whether the TPM is there are left out. */
size_t proxied_count(const struct proxied_tpm *proxied);
/* How many of them, from this one on, were this command (Part 2, 6.5.2). */
size_t proxied_count_of(const struct proxied_tpm *proxied, size_t from, uint32_t command);
/* The number of the first such command from this one on; SIZE_MAX if there is none. */
size_t proxied_find(const struct proxied_tpm *proxied, size_t from, uint32_t command);
