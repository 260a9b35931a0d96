/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/escrowctl_config.h"
#include "client/escrowctl_output.h"
#include "libescrow/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * escrowctl: the command of admins, auditors and the policy authority. One file a subcommand; each
 * parses its options, does one thing, prints one result. A result of libescrow is its exit code
 * (escrow_err_exit_code). Nothing asks a question except `deposit` at a terminal, so everything
 * else runs from scripts.
 */

/* What every subcommand is given. */
struct ctl {
    const struct ctl_command *command;
    const char *config_path;
    enum ctl_output output;
    int argc; /* what follows the command; after ctl_parse, what is no option */
    char **argv;
};

struct ctl_command {
    const char *name; /* one word or two: "authority init" */
    enum escrow_err (*run)(struct ctl *ctl);
    const char *summary; /* one line */
    const char *help;    /* arguments, what they mean, an example */
};

#define CTL_LIST_MAX 64

/* The values of an option that may be given several times. */
struct ctl_list {
    const char *items[CTL_LIST_MAX];
    size_t count;
};

/* --name VALUE (value or list) or --name (flag): exactly one of the three is set. */
struct ctl_option {
    const char *name;
    const char **value;
    struct ctl_list *list;
    bool *flag;
    bool is_required;
};

/*
 * Fills the targets of the options and leaves the other arguments in ctl. ESCROW_ERR_USAGE with a
 * log line for an unknown option, one without its value, one given twice, one that is missing, and
 * for fewer than least or more than most other arguments.
 */
MUST_CHECK enum escrow_err ctl_parse(struct ctl *ctl, const struct ctl_option *options,
                                     size_t option_count, int least, int most);

/* --name as a number from min to max. ESCROW_ERR_USAGE with a log line. text NULL gives fallback.
 */
MUST_CHECK enum escrow_err ctl_number(const char *name, const char *text, uint64_t min,
                                      uint64_t max, uint64_t fallback, uint64_t *ret_number);

/* The subcommands. */
extern const struct ctl_command ctl_authority_init;
extern const struct ctl_command ctl_authority_approve_host;
extern const struct ctl_command ctl_authority_approve_node;
extern const struct ctl_command ctl_enroll;
extern const struct ctl_command ctl_roster_new;
extern const struct ctl_command ctl_roster_add_member;
extern const struct ctl_command ctl_roster_add_key;
extern const struct ctl_command ctl_roster_remove_member;
extern const struct ctl_command ctl_roster_remove_key;
extern const struct ctl_command ctl_roster_show;
extern const struct ctl_command ctl_publish;
extern const struct ctl_command ctl_deposit;
extern const struct ctl_command ctl_list;
extern const struct ctl_command ctl_status;
extern const struct ctl_command ctl_pending;
extern const struct ctl_command ctl_approve;
extern const struct ctl_command ctl_rebaseline;
extern const struct ctl_command ctl_audit_show;
extern const struct ctl_command ctl_audit_explain;
extern const struct ctl_command ctl_policy_check;
extern const struct ctl_command ctl_policy_explain;
extern const struct ctl_command ctl_sql_grants;
extern const struct ctl_command ctl_recover;
extern const struct ctl_command ctl_recover_tpm_auth;
