/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"

/*
 * The supervisor starts the roles of escrowd, wires them to each other by the trust graph (the
 * table `edges` in supervisor.c), and starts a role again that died, is overdue or said what it
 * must not. It parses nothing that comes from outside, has no key and no secret, and decides
 * nothing.
 */

/*
 * Runs until SIGTERM or SIGINT and all roles have ended. ESCROW_ERR_CONFIG if a role found at the
 * first start that its files or settings are wrong (its log line says what), ESCROW_ERR_SYSTEM.
 * Writes {"ready": true, "port": N} and a newline to standard output once all roles are ready.
 */
MUST_CHECK enum escrow_err supervisor_run(const char *config_path);

/*
 * The next pause before a role is started again: twice the last one (0 at first), 100 ms to 10 s;
 * random, of 0 ..= UINT32_MAX, takes up to a quarter off, so that roles do not return in step.
 */
unsigned supervisor_backoff_ms(unsigned last_ms);
unsigned supervisor_jitter_ms(unsigned backoff_ms, uint32_t random);
