/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/sandbox.h"

#include "libescrow/log.h"
#include "libescrow/sandbox_calls.h"
#include "libescrow/sandbox_files.h"
#include "libescrow/sandbox_network.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static void add_path(struct sandbox_plan *plan, struct sandbox_path path)
{
    if (!path.path)
        return;
    if (plan->path_count == SANDBOX_PATHS_MAX)
        plan->is_overfull = true;
    else
        plan->paths[plan->path_count++] = path;
}

void sandbox_allow_path(struct sandbox_plan *plan, const char *path, enum sandbox_access access)
{
    add_path(plan, (struct sandbox_path){.path = path, .access = access});
}

void sandbox_allow_folder_of(struct sandbox_plan *plan, const char *path,
                             enum sandbox_access access)
{
    add_path(plan, (struct sandbox_path){.path = path, .access = access, .is_folder_of = true});
}

void sandbox_allow_port(struct sandbox_plan *plan, int64_t port)
{
    if (plan->port_count == SANDBOX_PORTS_MAX)
        plan->is_overfull = true;
    else
        plan->ports[plan->port_count++] = (uint16_t)port;
}

void sandbox_allow_calls(struct sandbox_plan *plan, const struct sandbox_rule *rules, size_t count)
{
    if (plan->list_count == SANDBOX_LISTS_MAX) {
        plan->is_overfull = true;
        return;
    }
    plan->lists[plan->list_count].rules = rules;
    plan->lists[plan->list_count++].count = count;
}

enum escrow_err sandbox_become_user(uid_t uid, gid_t gid)
{
    if (setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0) {
        if (setuid(0) < 0 && errno == EPERM)
            return ESCROW_OK;
        log_error("sandbox: root could be taken back");
        return ESCROW_ERR_SYSTEM;
    }
    log_error("sandbox: cannot become user %u: %s", uid, strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err limit(const char *name, int resource, rlim_t value)
{
    const struct rlimit limits = {value, value};

    if (setrlimit((__rlimit_resource_t)resource, &limits) == 0)
        return ESCROW_OK;
    log_error("sandbox: %s: %s", name, strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err set_limits(const struct sandbox_plan *plan)
{
    enum escrow_err err = limit("RLIMIT_NOFILE", RLIMIT_NOFILE, plan->descriptors);

    return err || plan->has_threads || plan->has_commands ? err
                                                          : limit("RLIMIT_NPROC", RLIMIT_NPROC, 0);
}

enum escrow_err sandbox_harden(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
        return limit("RLIMIT_CORE", RLIMIT_CORE, 0);
    log_error("sandbox: prctl: %s", strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

/* Again after each change of user or capabilities, which clears both (prctl(2)). */
static enum escrow_err bind_to_parent(void)
{
    enum escrow_err err = sandbox_harden();

    if (err || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0)
        return err;
    log_error("sandbox: prctl: %s", strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

#ifdef ESCROW_SANITIZE
/* Asked at exit: the search for leaks would trace this process, which nobody may any more. */
int __lsan_is_turned_off(void); /* NOLINT(readability-identifier-naming) */
int __lsan_is_turned_off(void)  /* NOLINT(readability-identifier-naming) */
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2 ||
           (geteuid() != 0 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}
#endif

static void log_state(const struct sandbox_plan *plan, int abi, enum sandbox_network network,
                      bool has_calls)
{
    static const char *const networks[] = {
        [SANDBOX_NETWORK_SHARED] = "the machine's", [SANDBOX_NETWORK_NONE] = "none"};

    log_info("sandbox: user %u; files: %s; TCP: %s; network: %s; system calls: %s", geteuid(),
             abi > 0 ? (plan->path_count > 0 ? "listed" : "none") : "by their modes",
             abi < SANDBOX_ABI_TCP   ? "any port"
             : plan->port_count == 0 ? "no port"
                                     : "listed ports",
             networks[network], has_calls ? "listed" : "any");
}

enum escrow_err sandbox_enter_plan(const struct sandbox_plan *plan)
{
    enum sandbox_network network = SANDBOX_NETWORK_SHARED;
    CLEANUP(cleanup_close) int ruleset_fd = -1;
    bool is_root = geteuid() == 0, has_calls = false;
    enum escrow_err err;
    int abi = 0;

    if (plan->is_overfull) {
        log_error("sandbox: more files or ports than a plan has room for");
        return ESCROW_ERR_SYSTEM;
    }
    err = bind_to_parent();          /* no_new_privs first: Landlock asks for it */
    if (!err && !plan->has_commands) /* while it may still find the files */
        err = sandbox_files_prepare(plan, &abi, &ruleset_fd);
    if (!err && !plan->has_network && is_root)
        network = sandbox_network_leave_as_root();
    if (!err && is_root && plan->uid != 0)
        err = sandbox_become_user(plan->uid, plan->gid);
    if (!err && !plan->has_network && network == SANDBOX_NETWORK_SHARED)
        network = sandbox_network_leave();
    if (!err)
        err = bind_to_parent();
    if (!err && !plan->has_commands)
        err = sandbox_files_enforce(ruleset_fd);
    if (!err)
        err = set_limits(plan);
    if (!err && !plan->has_commands)
        err = sandbox_restrict_calls(plan, &has_calls);
    if (!err)
        log_state(plan, abi, network, has_calls);
    return err;
}
