/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/probe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads the rows of the probe's questions into a state. A column that does not have its form makes
 * the whole row wrong: nothing is guessed, and nothing cut.
 */

/* A state of which nothing is known: PROBE_UNREACHABLE, all numbers -1. */
struct probe_state probe_row_empty(void);

/* Each true if the row has its form; outcome and diagnosis are left alone. */
bool probe_row_state(size_t columns, const char *const *values, struct probe_state *state);
bool probe_row_quorum(size_t columns, const char *const *values, struct probe_state *state);
bool probe_row_local(size_t columns, const char *const *values, struct probe_state *state);

/* A number of 0 ..= INT32_MAX, or -1 for NULL. */
bool probe_row_int(const char *value, int32_t *ret_number);
