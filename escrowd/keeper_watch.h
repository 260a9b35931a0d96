/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/target.h"
#include "policy/decide.h"

#include <jansson.h>

/*
 * The keeper's own view of the groups: asks every replica every second, remembers what a decision
 * may want to know of the past (in memory only: after a start nothing is known, which makes
 * decisions stricter), and records it when a group has a new primary. It lets nothing out.
 */
struct keeper;
struct watch;

/* Of all groups of the keeper's policy. The keeper is borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err watch_new(struct keeper *keeper, struct watch **ret_watch);
void watch_free(struct watch *watch);
CLEANUP_FUNCTION(watch_free_p, struct watch, watch_free)

/* Once a second. */
void watch_tick(struct watch *watch);

/* Fills the history of every replica in the facts of a question about (group, database). */
void watch_fill_history(const struct watch *watch, const char *group, const char *database,
                        struct policy_facts *facts);

/*
 * What the replicas said in a round that the watch did not ask itself, if that makes a later
 * decision about the group stricter: who is PRIMARY, and who was no healthy secondary of it.
 */
void watch_learn(struct watch *watch, const struct policy_group *group,
                 const struct policy_facts *facts);

/*
 * What this instance said last of (group, database), if that was after since_ms (CLOCK_BOOTTIME)
 * and nothing has gone wrong with it since; else NULL. Borrowed until the next tick.
 */
const struct probe_state *watch_said(const struct watch *watch, const struct act_subject *subject,
                                     const char *instance, int64_t since_ms);

/* When this instance last said that it is primary of (group, database), by CLOCK_BOOTTIME; 0: not
 * since the start. */
int64_t watch_primary_ms(const struct watch *watch, const struct act_subject *subject,
                         const char *instance);

/*
 * What the replicas said to the watch in its last whole round, histories filled; elapsed_ms is how
 * long ago they were asked. number: which entry of watch_json, from 1. REASON_DATABASE_UNKNOWN;
 * REASON_STARTING before the first round is over.
 */
MUST_CHECK enum reason watch_last(const struct watch *watch, uint64_t number,
                                  struct target *ret_target, struct policy_facts *ret_facts);
/* The fingerprints of every database of the group on this replica, as far as they are known. */
struct ledger_epoch;
void watch_hints(const struct watch *watch, const struct policy_group *group, size_t primary,
                 struct ledger_epoch *epoch);

/* For GET /v1/status: an array, NULL without memory. */
json_t *watch_json(const struct watch *watch);
