/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/sandbox.h"

#include "escrowd/sandbox_calls.h"
#include "escrowd/sandbox_files.h"
#include "escrowd/sandbox_table.h"
#include "libescrow/log.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct user {
    uid_t uid;
    gid_t gid;
};

/* A number is user and group at once. Nobody runs as root. */
static enum escrow_err find_user(const char *name, struct user *ret_user)
{
    const struct passwd *entry;
    char *end;
    unsigned long number;

    if (!name) {
        log_error(
            "started as root: the configuration must name users for keeper, front and prober");
        return ESCROW_ERR_CONFIG;
    }
    errno = 0;
    number = strtoul(name, &end, 10);
    if (*end == 0 && name[0] >= '0' && name[0] <= '9') {
        *ret_user = (struct user){(uid_t)number, (gid_t)number};
    } else {
        entry = getpwnam(name);
        if (!entry) {
            log_error("there is no user %s", name);
            return ESCROW_ERR_CONFIG;
        }
        *ret_user = (struct user){entry->pw_uid, entry->pw_gid};
    }
    if (ret_user->uid != 0 && ret_user->gid != 0 && number < UINT32_MAX)
        return ESCROW_OK;
    log_error("user %s: a role of escrowd does not run as root", name);
    return ESCROW_ERR_CONFIG;
}

static enum escrow_err become(const struct user *user)
{
    if (setgroups(0, NULL) == 0 && setresgid(user->gid, user->gid, user->gid) == 0 &&
        setresuid(user->uid, user->uid, user->uid) == 0) {
        if (setuid(0) < 0 && errno == EPERM)
            return ESCROW_OK;
        log_error("sandbox: root could be taken back");
        return ESCROW_ERR_SYSTEM;
    }
    log_error("sandbox: cannot become user %u: %s", user->uid, strerror(errno));
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

static enum escrow_err set_limits(const struct sandbox_profile *profile,
                                  const struct escrowd_config *config)
{
    size_t descriptors = profile->descriptors;
    enum escrow_err err;

    if (profile->has_connections)
        descriptors += (size_t)config->limits.connections;
    err = limit("RLIMIT_CORE", RLIMIT_CORE, 0);
    if (!err)
        err = limit("RLIMIT_NOFILE", RLIMIT_NOFILE, descriptors);
    return err ? err : limit("RLIMIT_NPROC", RLIMIT_NPROC, 0);
}

static enum escrow_err set_process(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0)
        return ESCROW_OK;
    log_error("sandbox: prctl: %s", strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

enum escrow_err sandbox_make_folder(enum ipc_peer_kind kind, const struct escrowd_config *config,
                                    const char *path)
{
    struct user user = {.uid = geteuid(), .gid = getegid()};
    enum escrow_err err =
        user.uid == 0 ? find_user(sandbox_profile(kind)->user(config), &user) : ESCROW_OK;

    if (err)
        return err;
    if ((mkdir(path, 0700) == 0 || errno == EEXIST) && lchown(path, user.uid, user.gid) == 0)
        return ESCROW_OK;
    log_error("cannot make %s: %s", path, strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

enum escrow_err sandbox_become(enum ipc_peer_kind kind, const struct escrowd_config *config)
{
    struct user user;
    enum escrow_err err;

    if (geteuid() != 0)
        return ESCROW_OK;
    err = find_user(sandbox_profile(kind)->user(config), &user);
    return err ? err : become(&user);
}

#ifdef ESCROW_SANITIZE
/* Asked at exit: the search for leaks would trace this process, which nobody may any more. */
int __lsan_is_turned_off(void); /* NOLINT(readability-identifier-naming) */
int __lsan_is_turned_off(void)  /* NOLINT(readability-identifier-naming) */
{
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}
#endif

enum escrow_err sandbox_enter(enum ipc_peer_kind kind, const struct escrowd_config *config,
                              const char *instance)
{
    const struct sandbox_profile *profile = sandbox_profile(kind);
    bool is_root = geteuid() == 0;
    struct user user = {0};
    enum escrow_err err = is_root ? find_user(profile->user(config), &user) : ESCROW_OK;

    if (!err)
        err = set_process(); /* no_new_privs first: Landlock asks for it */
    if (!err)
        err = sandbox_restrict_files(profile, config, escrowd_config_find(config, instance));
    if (!err && is_root)
        err = become(&user);
    if (!err)
        err = set_process(); /* a change of user clears what dies and dumps with us (prctl(2)) */
    if (!err)
        err = set_limits(profile, config);
    return err ? err : sandbox_restrict_calls(profile);
}
