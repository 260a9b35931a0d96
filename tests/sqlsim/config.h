/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/simulator.h"

/*
 * The configuration: one JSON object, described in README.md. What is wrong goes to standard error
 * with its place; unknown keys are wrong.
 */

/* Fills a zeroed simulator from a file, or from standard input for "-". ESCROW_ERR_CONFIG. What was
 * filled in is simulator_close's to free, also on failure. */
MUST_CHECK enum escrow_err config_load(const char *path, struct simulator *simulator);
