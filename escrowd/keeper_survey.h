/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/check.h"

#include <jansson.h>

/*
 * What the primaries are asked beside their role, every few seconds, many databases in turn:
 * whether the master keys that are to open by themselves still do, and which replicas the group has
 * there. A difference is
 * recorded once, as an alert. It decides nothing and lets nothing out: a master key that closes
 * without a promotion is opened by whatever the policy says of restarts, when its agent asks.
 * Nothing of it is kept: after a start what differs is recorded once more.
 */
struct keeper;
struct survey;

/* Of all groups of the keeper's policy. The keeper is borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err survey_new(struct keeper *keeper, struct survey **ret_survey);
void survey_free(struct survey *survey);
CLEANUP_FUNCTION(survey_free_p, struct survey, survey_free)

/* Once a second. */
void survey_tick(struct survey *survey);

/*
 * Adds to the entries of watch_json what is known here: "master_key" and "membership". False
 * without memory.
 */
bool survey_describe(const struct survey *survey, json_t *groups);

/* CHECK_GROUPS: warns while something differs. NULL: nothing is known yet. */
void survey_check(const struct survey *survey, struct check *check);
