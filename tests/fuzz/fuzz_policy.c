/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy file: one that is taken keeps the rules between its values and is found again by its own
 * names; one that is refused has a reason in the report, and no policy.
 */
#include "policy/policy.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_group(const struct policy *policy, const struct policy_group *group)
{
    FUZZ_CHECK(policy_find_group(policy, group->name) == group);
    FUZZ_CHECK(group->replica_count >= 2 && group->replica_count <= POLICY_REPLICAS_MAX);
    FUZZ_CHECK(group->database_count >= 1 && group->database_count <= POLICY_DATABASES_MAX);
    FUZZ_CHECK(group->witness_count >= 1 && group->witness_count <= group->replica_count);
    FUZZ_CHECK(group->witnesses != POLICY_WITNESSES_SILENCE || group->replica_count == 2);
    for (size_t i = 0; i < group->replica_count; i++) {
        const struct policy_replica *replica = &group->replicas[i];

        FUZZ_CHECK(name_is_valid(replica->instance));
        FUZZ_CHECK(policy_find_replica(group, replica->instance) == replica);
        FUZZ_CHECK(policy_find_server(group, replica->server_name) == replica);
    }
    for (size_t i = 0; i < group->database_count; i++)
        FUZZ_CHECK(policy_has_database(group, group->databases[i]));
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    struct config_report report = {0};
    struct policy *policy = FUZZ_UNTOUCHED;
    const struct policy_group *groups;
    enum escrow_err err = policy_load_bytes(bytes, len, "policy", &report, &policy);

    fuzz_check_err(err);
    if (err) {
        FUZZ_CHECK(policy == FUZZ_UNTOUCHED);
        FUZZ_CHECK(err != ESCROW_ERR_CONFIG || report.total > 0);
    } else {
        const size_t count = policy_groups(policy, &groups);

        FUZZ_CHECK(count >= 1 && count <= POLICY_GROUPS_MAX);
        for (size_t i = 0; i < count; i++)
            check_group(policy, &groups[i]);
        policy_warnings(policy, &report);
        policy_free(policy);
    }
    config_report_deinit(&report);
}
