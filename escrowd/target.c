/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/target.h"

#include <string.h>

enum escrow_err target_at(const struct policy *policy, const char *instance, uint32_t number,
                          struct target *ret_target)
{
    const struct policy_group *groups;
    size_t count = policy_groups(policy, &groups);

    for (size_t i = 0; i < count; i++) {
        if (!policy_find_replica(&groups[i], instance))
            continue;
        if (number < groups[i].database_count) {
            *ret_target = (struct target){&groups[i], groups[i].databases[number]};
            return ESCROW_OK;
        }
        number -= (uint32_t)groups[i].database_count;
    }
    return ESCROW_ERR_NOT_FOUND;
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
