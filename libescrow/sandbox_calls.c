/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sandbox_calls.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"

#include <seccomp.h>

#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

CLEANUP_FUNCTION(seccomp_release_p, void, seccomp_release)

/* Without this condition a process could make code of data. */
#define NO_EXEC(name, kept)                                                                        \
    {                                                                                              \
        .calls = (name), .has_condition = true, .argument = 2, .mask = PROT_EXEC, .value = 0,      \
        .is_kept = (kept)                                                                          \
    }

const struct sandbox_rule sandbox_common_rules[] = {
    SANDBOX_CALLS("brk close exit_group futex getegid geteuid getgid getpid getrandom getuid lseek "
                  "munmap newfstatat poll read recvmsg sendmsg write"),
    /* malloc and stdio by the size of what they hold; fstat where it is a call of its own */
    SANDBOX_KEPT("fstat madvise mremap readv writev"),
    /* where the kernel's clock cannot be read without it (no vDSO, another clock source) */
    SANDBOX_KEPT("clock_gettime gettimeofday time"),
    /* signals: their handlers, a call that goes on after one, and abort() */
    SANDBOX_KEPT("exit gettid restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn tgkill"),
    /* arm64 has only these of poll and epoll_wait */
    SANDBOX_KEPT("epoll_pwait ppoll"),
    NO_EXEC("mmap", false),
    /* malloc of a thread, or where brk fails */
    NO_EXEC("mprotect", true),
    /* libraries try these and do without */
    SANDBOX_REFUSED("access faccessat faccessat2 readlink sysinfo uname", EACCES),
    SANDBOX_REFUSED("clone3", ENOSYS),
};
const size_t sandbox_common_rule_count = ARRAY_LEN(sandbox_common_rules);

#ifdef ESCROW_SANITIZE
/* Memory of their own, the end, and whether to search for leaks then. */
static const struct sandbox_rule sanitizer_rules[] = {
    SANDBOX_KEPT("mmap mprotect openat prctl readlink sched_getaffinity sched_yield sigaltstack"),
};
#endif

/* A call that this architecture does not have (open on arm64) needs no rule. */
static enum escrow_err add_call(void *filter, const struct sandbox_rule *rule, const char *name)
{
    const struct scmp_arg_cmp condition =
        SCMP_CMP64(rule->argument, SCMP_CMP_MASKED_EQ, rule->mask, rule->value);
    uint32_t action =
        rule->error ? SCMP_ACT_ERRNO((uint32_t)rule->error) : (uint32_t)SCMP_ACT_ALLOW;
    int number = seccomp_syscall_resolve_name(name);
    int status;

    if (number == __NR_SCMP_ERROR) {
        log_error("sandbox: there is no system call %s", name);
        return ESCROW_ERR_SYSTEM;
    }
    if (number < 0)
        return ESCROW_OK;
    status = seccomp_rule_add_array(filter, action, number, rule->has_condition ? 1 : 0,
                                    rule->has_condition ? &condition : NULL);
    if (status == 0 || status == -EEXIST)
        return ESCROW_OK;
    log_error("sandbox: seccomp rule for %s: %s", name, strerror(-status));
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err add_rule(void *filter, const struct sandbox_rule *rule)
{
    const char *names = rule->calls;
    enum escrow_err err = ESCROW_OK;

    while (*names && !err) {
        size_t len = strcspn(names, " ");
        char name[32];

        snprintf(name, sizeof(name), "%.*s", (int)len, names);
        err = add_call(filter, rule, name);
        names += len + strspn(names + len, " ");
    }
    return err;
}

static enum escrow_err add_rules(void *filter, const struct sandbox_rule *rules, size_t count)
{
    enum escrow_err err = ESCROW_OK;

    for (size_t i = 0; i < count && !err; i++)
        err = add_rule(filter, &rules[i]);
    return err;
}

/* Asks the kernel for a filter that does not exist (seccomp(2)): it finds no address, or no call.
 */
static bool has_seccomp(void)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) != 0 && errno == EFAULT;
}

enum escrow_err sandbox_restrict_calls(const struct sandbox_plan *plan, bool *ret_is_on)
{
    CLEANUP(seccomp_release_p) void *filter = NULL;
    enum escrow_err err = ESCROW_OK;
    int status;

    *ret_is_on = has_seccomp();
    if (!*ret_is_on) {
        log_warning("sandbox: this kernel has no seccomp filters: system calls are not restricted");
        return ESCROW_OK;
    }
    filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return ESCROW_ERR_NO_MEMORY;
    if (seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) != 0) {
        log_error("sandbox: seccomp: a call of another architecture cannot be made fatal");
        return ESCROW_ERR_SYSTEM;
    }
#ifdef ESCROW_SANITIZE
    err = add_rules(filter, sanitizer_rules, ARRAY_LEN(sanitizer_rules));
#endif
    /* Of two rules for the same the first one counts: the plan's go before the common ones. */
    for (size_t i = 0; i < plan->list_count && !err; i++)
        err = add_rules(filter, plan->lists[i].rules, plan->lists[i].count);
    if (!err)
        err = add_rules(filter, sandbox_common_rules, sandbox_common_rule_count);
    if (err)
        return err;
    status = seccomp_load(filter);
    if (status == 0)
        return ESCROW_OK;
    log_error("sandbox: seccomp: %s", strerror(-status));
    return ESCROW_ERR_SYSTEM;
}
