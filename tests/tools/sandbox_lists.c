/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the system calls that each role may make, for measure-calls: "ROLE WORD CALL", with the
 * word "used" for what was seen in real runs, "kept" for what the tables keep all the same, and
 * "refused" for what fails.
 */
#include "client/agent_sandbox.h"
#include "escrowd/sandbox_table.h"
#include "libescrow/cleanup.h"
#include "libescrow/sandbox_calls.h"
#include "libescrow/sql_sandbox.h"

#include <stdio.h>
#include <string.h>

static const char *word_of(const struct sandbox_rule *rule)
{
    if (rule->error)
        return "refused";
    return rule->is_kept ? "kept" : "used";
}

static void print_rules(const char *role, const struct sandbox_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *names = rules[i].calls;

        while (*names) {
            size_t len = strcspn(names, " ");

            printf("%s %s %.*s\n", role, word_of(&rules[i]), (int)len, names);
            names += len + strspn(names + len, " ");
        }
    }
    if (rules != sandbox_common_rules)
        print_rules(role, sandbox_common_rules, sandbox_common_rule_count);
}

static void print_plan(const char *role, enum ipc_peer_kind kind)
{
    const struct escrowd_instance instance = {.address = "127.0.0.1", .port = 1433};
    const struct escrowd_config config = {.tpm = {.tcti = "swtpm:path=/nothing"}};
    struct sandbox_plan plan;

    sandbox_plan_of(kind, &config, &instance, &plan);
    for (size_t i = 0; i < plan.list_count; i++)
        print_rules(role, plan.lists[i].rules, plan.lists[i].count);
}

int main(void)
{
    print_plan("escrowd-keeper", IPC_PEER_KEEPER);
    print_plan("escrowd-front", IPC_PEER_FRONT);
    print_plan("escrowd-prober", IPC_PEER_PROBER);
    print_rules("agent-prober", sql_sandbox_rules, sql_sandbox_rule_count);
    print_rules("agent-worker", sql_sandbox_rules, sql_sandbox_rule_count);
    print_rules("agent-worker", agent_worker_rules, agent_worker_rule_count);
    return 0;
}
