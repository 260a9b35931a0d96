/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/escrowctl_output.h"
#include "libescrow/roster.h"

/*
 * Who is in a roster, for people and programs: what the policy authority compares, key Name by key
 * Name, with what the owners of the keys say. The rows are owned by the caller; NULL without
 * memory.
 */

/* {label, storage, answer, counter, ek} of each member from the first-th on, in the roster's order.
 */
json_t *ctl_roster_members(const struct roster *roster, size_t first);
/* {identity, role, groups, instances, key} of each act key from the first-th on. */
json_t *ctl_roster_keys(const struct roster *roster, size_t first);

/* As tables. */
void ctl_print_roster_members(const json_t *rows);
void ctl_print_roster_keys(const json_t *rows);
