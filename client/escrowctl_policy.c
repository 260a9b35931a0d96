/* SPDX-License-Identifier: Apache-2.0 */
/* policy check: what is wrong with a policy file, and what its settings trust. Asks nobody. */
#include "client/escrowctl.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "policy/policy.h"

#include <stdio.h>

static json_t *lines_json(const struct config_report *report)
{
    CLEANUP(json_free_p) json_t *lines = json_array();

    for (size_t i = 0; i < report->count; i++) {
        if (json_array_append_new(lines, json_string(report->lines[i])) < 0)
            return NULL;
    }
    return TAKE(lines);
}

static json_t *describe(const char *path, const struct policy *policy,
                        const struct config_report *warnings)
{
    const struct policy_group *groups;
    size_t count = policy_groups(policy, &groups), replicas = 0, databases = 0;
    char digest[2 * POLICY_DIGEST_BYTES + 1];

    for (size_t i = 0; i < count; i++) {
        replicas += groups[i].replica_count;
        databases += groups[i].database_count;
    }
    hex_encode(policy_digest(policy), POLICY_DIGEST_BYTES, digest);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "file", path, "rules", digest, "groups",
                     (json_int_t)count, "databases", (json_int_t)databases, "replicas",
                     (json_int_t)replicas, "warnings", lines_json(warnings));
}

static enum escrow_err run(struct ctl *ctl)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(policy_free_p) struct policy *policy = NULL;
    CLEANUP(json_free_p) json_t *result = NULL;
    enum escrow_err err = ctl_parse(ctl, NULL, 0, 1, 1);

    if (!err)
        err = policy_load(ctl->argv[0], &report, &policy);
    if (err) {
        config_report_log(&report);
        return err;
    }
    policy_warnings(policy, &report);
    result = describe(ctl->argv[0], policy, &report);
    if (!result)
        return ESCROW_ERR_NO_MEMORY;
    if (ctl->output == CTL_OUTPUT_JSON) {
        ctl_print_object(ctl->output, result);
        return ESCROW_OK;
    }
    for (size_t i = 0; i < report.count; i++)
        ctl_print_line(ctl->output, "warning: %s", report.lines[i]);
    ctl_print_line(ctl->output, "%s: valid; groups %lld, databases %lld, replicas %lld",
                   ctl->argv[0], json_integer_value(json_object_get(result, "groups")),
                   json_integer_value(json_object_get(result, "databases")),
                   json_integer_value(json_object_get(result, "replicas")));
    ctl_print_line(ctl->output, "rules %s", json_string_value(json_object_get(result, "rules")));
    return ESCROW_OK;
}

const struct ctl_command ctl_policy_check = {
    "policy check", run, "check a policy file, and say what it trusts",
    "FILE\n"
    "\n"
    "Names everything that is wrong in FILE with line and column (exit code 3), and warns of each\n"
    "setting that trusts more than the default does. The last line is the SHA-256 by which the\n"
    "records of the audit log name the policy in force (rules).\n"
    "\n"
    "  escrowctl policy check /etc/escrowd/policy.yaml\n"};
