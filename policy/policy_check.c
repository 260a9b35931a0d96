/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_file.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_RIVAL_WAIT_MS 300
#define DEFAULT_DEAD_FOR_MS 5000
#define DEFAULT_WINDOW_MS (INT64_C(24) * 3600 * 1000)
#define DEFAULT_RETRIES 5
#define DEFAULT_BRAKE 6
#define DEFAULT_APPROVALS 2
#define DEFAULT_APPROVAL_EXPIRY_MS (INT64_C(3600) * 1000)

static size_t majority(const struct policy_group *group)
{
    return group->replica_count / 2 + 1;
}

static bool check_silence(const struct policy *policy, struct config_report *report, size_t index)
{
    const struct policy_file_group *source = &policy->file->groups[index];
    enum policy_cluster_type cluster_type = source->group.cluster_type;

    if (source->group.replica_count != 2) {
        config_complain(policy->config, report, &source->witnesses,
                        "witnesses: found candidate+silence with %zu replicas, expected it only "
                        "with two",
                        source->group.replica_count);
        return false;
    }
    if (cluster_type != POLICY_CLUSTER_WSFC) {
        config_complain(policy->config, report, &source->witnesses,
                        "witnesses: found candidate+silence without cluster_type: wsfc, expected "
                        "it only there, because it rests on the quorum of the Windows cluster");
        return false;
    }
    return true;
}

static bool check_witnesses(const struct policy *policy, struct config_report *report, size_t index)
{
    const struct policy_file_group *source = &policy->file->groups[index];
    struct policy_group *group = &policy->groups[index];
    const char *text = source->witnesses;

    group->witnesses = POLICY_WITNESSES_COUNT;
    group->witness_count = majority(group);
    if (strcmp(text, "majority") == 0)
        return true;
    if (strcmp(text, "candidate+silence") == 0) {
        group->witnesses = POLICY_WITNESSES_SILENCE;
        return check_silence(policy, report, index);
    }
    /* At most nine replicas: a number is one digit. */
    if (text[0] >= '1' && (size_t)(text[0] - '0') <= group->replica_count && text[1] == '\0') {
        group->witness_count = (size_t)(text[0] - '0');
        return true;
    }
    config_complain(policy->config, report, &source->witnesses,
                    "witnesses: found '%s', expected majority, candidate+silence or a number from "
                    "1 to %zu",
                    text, group->replica_count);
    return false;
}

/* Within a group, instances and server names are different. */
static bool check_replicas(const struct policy *policy, struct config_report *report,
                           const struct policy_group *group)
{
    bool is_valid = true;

    for (size_t i = 0; i < group->replica_count; i++) {
        const struct policy_replica *replica = &group->replicas[i];

        for (size_t j = 0; j < i; j++) {
            if (strcmp(replica->instance, group->replicas[j].instance) == 0) {
                config_complain(policy->config, report, &replica->instance,
                                "instance: found '%s' again, expected each instance once in a "
                                "group",
                                replica->instance);
                is_valid = false;
            }
            if (strcasecmp(replica->server_name, group->replicas[j].server_name) == 0) {
                config_complain(policy->config, report, &replica->server_name,
                                "server_name: found '%s' again, expected each server once in a "
                                "group",
                                replica->server_name);
                is_valid = false;
            }
        }
    }
    return is_valid;
}

/* Between two groups: one name each, one server an instance, one group an availability group. */
static bool check_pair(const struct policy *policy, struct config_report *report, size_t index,
                       size_t earlier)
{
    const struct policy_group *group = &policy->groups[index];
    const struct policy_group *other = &policy->groups[earlier];
    bool is_valid = strcmp(group->name, other->name) != 0;

    if (!is_valid)
        config_complain(policy->config, report, &policy->file->groups[index].group.name,
                        "name: found '%s' again, expected each group once", group->name);
    for (size_t i = 0; i < group->replica_count; i++) {
        const struct policy_replica *replica = &group->replicas[i];
        const struct policy_replica *same = policy_find_replica(other, replica->instance);

        if (same && strcasecmp(replica->server_name, same->server_name) != 0) {
            config_complain(policy->config, report, &replica->server_name,
                            "server_name: found '%s' for instance %s, expected '%s' as in group %s",
                            replica->server_name, replica->instance, same->server_name,
                            other->name);
            is_valid = false;
        }
        if (same && strcasecmp(group->availability_group, other->availability_group) == 0) {
            config_complain(policy->config, report, &replica->instance,
                            "instance: found %s with availability group '%s', expected that only "
                            "once, and group %s has it",
                            replica->instance, group->availability_group, other->name);
            is_valid = false;
        }
    }
    return is_valid;
}

bool policy_check(struct policy *policy, struct config_report *report)
{
    bool is_valid = true;

    for (size_t i = 0; i < policy->file->group_count; i++) {
        is_valid &= check_witnesses(policy, report, i);
        is_valid &= check_replicas(policy, report, &policy->groups[i]);
        for (size_t j = 0; j < i; j++)
            is_valid &= check_pair(policy, report, i, j);
    }
    return is_valid;
}

static void warn_witnesses(const struct policy *policy, struct config_report *report, size_t index)
{
    const struct policy_file_group *source = &policy->file->groups[index];
    const struct policy_group *group = &policy->groups[index];

    if (group->witnesses == POLICY_WITNESSES_SILENCE)
        config_complain(policy->config, report, &source->witnesses,
                        "group %s: candidate+silence trusts the candidate and the quorum of its "
                        "Windows cluster alone while the other replica is silent: whoever "
                        "controls one of the two instances and can cut off the other gets the "
                        "secret",
                        group->name);
    else if (group->witness_count < majority(group))
        config_complain(policy->config, report, &source->witnesses,
                        "group %s: %zu of %zu witnesses is no majority: whoever controls %zu of "
                        "the instances and can cut off the others gets the secret",
                        group->name, group->witness_count, group->replica_count,
                        group->witness_count);
    else if (group->replica_count == 2)
        config_complain(policy->config, report, &source->witnesses,
                        "group %s: both of two replicas must be up for a release; after the loss "
                        "of one, an admin must act (see candidate+silence)",
                        group->name);
    if (group->cluster_type == POLICY_CLUSTER_ANY)
        config_complain(policy->config, report, &source->group.cluster_type,
                        "group %s: without cluster_type the candidate itself says whether its "
                        "cluster has a quorum to ask for",
                        group->name);
}

static void warn_echo(const struct policy *policy, struct config_report *report, size_t index)
{
    const struct policy_group *group = &policy->groups[index];
    const bool *place = &policy->file->groups[index].group.wants_echo;

    if (!group->wants_echo)
        return;
    config_complain(policy->config, report, place,
                    "group %s: echo asks for a secondary that can be read: set ALLOW_CONNECTIONS "
                    "of SECONDARY_ROLE to READ_ONLY or ALL on at least two replicas, and run the "
                    "script of escrowctl sql-grants on every one; while none answers, each release "
                    "needs an approval",
                    group->name);
    if (group->witnesses == POLICY_WITNESSES_SILENCE)
        config_complain(policy->config, report, place,
                        "group %s: with echo, candidate+silence leads to an approval: the replica "
                        "that is silent is the only one that could be read",
                        group->name);
}

static void warn_numbers(const struct policy *policy, struct config_report *report, size_t index)
{
    const struct policy_group *group = &policy->file->groups[index].group;

    if (group->rival_wait_ms < DEFAULT_RIVAL_WAIT_MS)
        config_complain(policy->config, report, &group->rival_wait_ms,
                        "group %s: a second primary that answers later than %" PRId64
                        " ms after the witnesses is not seen",
                        group->name, group->rival_wait_ms);
    if (policy->groups[index].witnesses == POLICY_WITNESSES_SILENCE &&
        group->dead_for_ms < DEFAULT_DEAD_FOR_MS)
        config_complain(policy->config, report, &group->dead_for_ms,
                        "group %s: an old primary that hangs for %" PRId64 " ms counts as gone",
                        group->name, group->dead_for_ms);
    if (group->window_ms > DEFAULT_WINDOW_MS)
        config_complain(policy->config, report, &group->window_ms,
                        "group %s: a promotion can still be claimed %" PRId64 " hours later",
                        group->name, group->window_ms / 3600000);
    if (group->retries > DEFAULT_RETRIES)
        config_complain(policy->config, report, &group->retries,
                        "group %s: the new primary can get the secret %" PRId64
                        " times for one promotion",
                        group->name, group->retries + 1);
    if (group->brake > DEFAULT_BRAKE)
        config_complain(policy->config, report, &group->brake,
                        "group %s: %" PRId64
                        " releases of a database within an hour need no approval",
                        group->name, group->brake);
    if (group->on_restart == POLICY_RESTART_ALLOW)
        config_complain(policy->config, report, &group->on_restart,
                        "group %s: a primary gets the secret without a promotion whenever its "
                        "recovery LSN or the group's sequence number has changed",
                        group->name);
}

static void warn_approvals(const struct policy *policy, struct config_report *report, size_t index)
{
    const struct policy_group *group = &policy->file->groups[index].group;

    if (group->approvals < DEFAULT_APPROVALS)
        config_complain(policy->config, report, &group->approvals,
                        "group %s: one admin alone can approve a release: whoever has one admin's "
                        "act key and certificate, and an agent's on a primary, gets the secret",
                        group->name);
    if (group->approval_expiry_ms > DEFAULT_APPROVAL_EXPIRY_MS)
        config_complain(policy->config, report, &group->approval_expiry_ms,
                        "group %s: what was asked for can still be approved %" PRId64
                        " minutes later",
                        group->name, group->approval_expiry_ms / 60000);
}

void policy_warnings(const struct policy *policy, struct config_report *report)
{
    for (size_t i = 0; i < policy->file->group_count; i++) {
        warn_witnesses(policy, report, i);
        warn_echo(policy, report, i);
        warn_numbers(policy, report, i);
        warn_approvals(policy, report, i);
    }
}
