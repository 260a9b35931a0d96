/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"
#include "libescrow/reason.h"
#include "policy/policy.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What a prober can be asked about, by number (libescrow/ipc_probe.h): keeper and prober both count
 * the databases of those groups of the policy that have the prober's instance, in the order of the
 * policy, from 0. So no name goes to a prober, and a keeper can ask for nothing else.
 */
struct target {
    const struct policy_group *group; /* borrowed from the policy, as is the next */
    const char *database;
};

/* All of an instance, by their numbers; freed by the caller. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err target_list(const struct policy *policy, const char *instance,
                                       struct target **ret_targets, size_t *ret_count);
/* The number of one; ESCROW_ERR_NOT_FOUND if the instance has no such target. */
MUST_CHECK enum escrow_err target_number(const struct policy *policy, const char *instance,
                                         const struct target *target, uint32_t *ret_number);

/* What an act is about; REASON_GROUP_UNKNOWN or REASON_DATABASE_UNKNOWN if the policy lacks it. */
MUST_CHECK enum reason target_find(const struct policy *policy, const struct act_subject *subject,
                                   struct target *ret_target);
