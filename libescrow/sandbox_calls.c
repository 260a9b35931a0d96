/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/sandbox_calls.h"

#include "libescrow/log.h"

#include <seccomp.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

CLEANUP_FUNCTION(seccomp_release_p, void, seccomp_release)

/* A call that this architecture does not have (open on arm64) needs no rule. */
static enum escrow_err add(void *filter, uint32_t action, const char *name,
                           const struct scmp_arg_cmp *argument)
{
    int number = seccomp_syscall_resolve_name(name);
    int status;

    if (number == __NR_SCMP_ERROR) {
        log_error("sandbox: there is no system call %s", name);
        return ESCROW_ERR_SYSTEM;
    }
    if (number < 0)
        return ESCROW_OK;
    status = seccomp_rule_add_array(filter, action, number, argument ? 1 : 0, argument);
    if (status == 0 || status == -EEXIST)
        return ESCROW_OK;
    log_error("sandbox: seccomp rule for %s: %s", name, strerror(-status));
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err add_list(void *filter, uint32_t action, const char *names)
{
    enum escrow_err err = ESCROW_OK;

    while (*names && !err) {
        size_t len = strcspn(names, " ");
        char name[32];

        snprintf(name, sizeof(name), "%.*s", (int)len, names);
        err = add(filter, action, name, NULL);
        names += len + strspn(names + len, " ");
    }
    return err;
}

static enum escrow_err add_rules(void *filter, const struct sandbox_profile *profile)
{
    enum escrow_err err = add_list(filter, SCMP_ACT_ALLOW, sandbox_common_calls);

    if (!err)
        err = add_list(filter, SCMP_ACT_ALLOW, profile->calls);
    if (!err)
        err = add_list(filter, SCMP_ACT_ERRNO(EPERM), sandbox_refused_calls);
    for (size_t i = 0; i < profile->argument_count && !err; i++) {
        const struct sandbox_argument *rule = &profile->arguments[i];
        const struct scmp_arg_cmp argument =
            SCMP_CMP64(rule->index, SCMP_CMP_MASKED_EQ, rule->mask, rule->value);

        err = add(filter, SCMP_ACT_ALLOW, rule->call, &argument);
    }
    return err;
}

enum escrow_err sandbox_restrict_calls(const struct sandbox_profile *profile)
{
    CLEANUP(seccomp_release_p) void *filter = NULL;
    enum escrow_err err;
    int status;

    if (seccomp_api_get() == 0) {
        log_warning("sandbox: this kernel has no seccomp filters: system calls are not restricted");
        return ESCROW_OK;
    }
    filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return ESCROW_ERR_NO_MEMORY;
    err = add_rules(filter, profile);
    if (err)
        return err;
    status = seccomp_load(filter);
    if (status < 0) {
        log_error("sandbox: seccomp: %s", strerror(-status));
        return ESCROW_ERR_SYSTEM;
    }
    return ESCROW_OK;
}
