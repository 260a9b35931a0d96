/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/target.h"

#include <stdlib.h>
#include <string.h>

enum escrow_err target_list(const struct policy *policy, const char *instance,
                            struct target **ret_targets, size_t *ret_count)
{
    const struct policy_group *groups;
    size_t group_count = policy_groups(policy, &groups), most = 1, count = 0;
    struct target *targets;

    for (size_t i = 0; i < group_count; i++)
        most += groups[i].database_count;
    targets = calloc(most, sizeof(*targets));
    if (!targets)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < group_count; i++) {
        if (!policy_find_replica(&groups[i], instance))
            continue;
        for (size_t j = 0; j < groups[i].database_count; j++)
            targets[count++] = (struct target){&groups[i], groups[i].databases[j]};
    }
    *ret_targets = targets;
    *ret_count = count;
    return ESCROW_OK;
}

enum escrow_err target_number(const struct policy *policy, const char *instance,
                              const struct target *target, uint32_t *ret_number)
{
    const struct policy_group *groups;
    size_t count = policy_groups(policy, &groups);
    uint32_t first = 0;

    for (size_t i = 0; i < count; i++) {
        if (!policy_find_replica(&groups[i], instance))
            continue;
        for (size_t j = 0; &groups[i] == target->group && j < groups[i].database_count; j++) {
            if (strcmp(groups[i].databases[j], target->database) == 0) {
                *ret_number = first + (uint32_t)j;
                return ESCROW_OK;
            }
        }
        first += (uint32_t)groups[i].database_count;
    }
    return ESCROW_ERR_NOT_FOUND;
}

enum reason target_find(const struct policy *policy, const struct act_subject *subject,
                        struct target *ret_target)
{
    const struct policy_group *group = policy_find_group(policy, subject->group);

    if (!group)
        return REASON_GROUP_UNKNOWN;
    for (size_t i = 0; i < group->database_count; i++) {
        if (strcmp(group->databases[i], subject->database) == 0) {
            *ret_target = (struct target){group, group->databases[i]};
            return REASON_NONE;
        }
    }
    return REASON_DATABASE_UNKNOWN;
}
