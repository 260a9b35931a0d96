/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/policy.h"

/* What the parts of the policy loader share (policy.c, policy_check.c), and nobody else includes.
 */

/* A group as the schema fills it: "witnesses" is a word or a number and needs a second look. */
struct policy_file_group {
    struct policy_group group;
    const char *witnesses;
};

struct policy_file {
    const struct policy_file_group *groups;
    size_t group_count;
};

struct policy {
    struct config *config;
    const struct policy_file *file; /* of config: where positions are known */
    struct policy_group *groups;    /* the same groups, complete */
};

/*
 * What the schema cannot say, and the witnesses of each group. false if a line was added to
 * *report.
 */
bool policy_check(struct policy *policy, struct config_report *report);
