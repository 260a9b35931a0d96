/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/sandbox.h"

#include "escrowd/sandbox_table.h"
#include "libescrow/log.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
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

enum escrow_err sandbox_make_folder(enum ipc_peer_kind kind, const struct escrowd_config *config,
                                    const char *path)
{
    struct user user = {.uid = geteuid(), .gid = getegid()};
    enum escrow_err err =
        user.uid == 0 ? find_user(sandbox_user_of(kind, config), &user) : ESCROW_OK;

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
    err = find_user(sandbox_user_of(kind, config), &user);
    return err ? err : sandbox_become_user(user.uid, user.gid);
}

enum escrow_err sandbox_enter(enum ipc_peer_kind kind, const struct escrowd_config *config,
                              const char *instance)
{
    struct sandbox_plan plan;
    struct user user = {0};
    enum escrow_err err =
        geteuid() == 0 ? find_user(sandbox_user_of(kind, config), &user) : ESCROW_OK;

    if (err)
        return err;
    sandbox_plan_of(kind, config, escrowd_config_find(config, instance), &plan);
    plan.uid = user.uid;
    plan.gid = user.gid;
    return sandbox_enter_plan(&plan);
}
