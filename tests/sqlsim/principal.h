/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Logins of the instances and users of the database. A login belongs to instances, a user to the
 * database that the group replicates; they meet by SID, never by name, so a login whose SID differs
 * on one instance cannot enter the database there (916).
 */
#define PRINCIPAL_SID_MAX 85       /* bytes, as in sys.server_principals */
#define PRINCIPAL_INSTANCES_MAX 64 /* one bit each */

enum principal_right {
    /* of a login */
    RIGHT_SYSADMIN = 1 << 0,
    RIGHT_VIEW_SERVER_STATE = 1 << 1,
    RIGHT_VIEW_SERVER_PERFORMANCE_STATE = 1 << 2, /* known to version 16 and later */
    RIGHT_VIEW_ANY_DEFINITION = 1 << 3,
    /* of a user */
    RIGHT_CONNECT = 1 << 4,
    RIGHT_CONTROL_DATABASE = 1 << 5,
    RIGHT_CONTROL_CERTIFICATE = 1 << 6, /* on escrowd_probe */
    RIGHT_SSIS_ADMIN = 1 << 7,          /* ssis_admin or ssis_failover_monitoring_agent */
};
#define RIGHTS_OF_USER                                                                             \
    (RIGHT_CONNECT | RIGHT_CONTROL_DATABASE | RIGHT_CONTROL_CERTIFICATE | RIGHT_SSIS_ADMIN)

/* The right of a word of the configuration ("VIEW SERVER STATE"), or ESCROW_ERR_NOT_FOUND. */
MUST_CHECK enum escrow_err principal_right_parse(const char *word, unsigned *ret_right);

struct sid {
    size_t len;
    uint8_t bytes[PRINCIPAL_SID_MAX];
};

struct login {
    char *name;
    char *password; /* NULL: a Windows login, DOMAIN\user */
    struct sid sid;
    unsigned rights;    /* server rights only */
    uint64_t instances; /* bit n: exists on instance n */
    bool is_disabled;
    /* On instance n, since passwords and what is counted of them are not replicated. */
    uint64_t locked, expired, must_change;           /* bit n */
    uint32_t bad_passwords[PRINCIPAL_INSTANCES_MAX]; /* since the last good one */
};

/* What an instance asks of a login apart from its password. */
struct login_gate {
    size_t instance;
    uint32_t lockout_threshold; /* bad passwords that lock; 0: never */
    bool locked_needs_password; /* who gives a wrong password is not told of the lock */
    bool is_upgrading;          /* script upgrade: administrators only */
    bool is_single_user;        /* one administrator only */
    bool has_sessions;
};

struct user {
    char *name;
    struct sid sid;
    unsigned rights; /* RIGHTS_OF_USER only */
};

struct principals {
    size_t login_count, user_count;
    struct login *logins;
    struct user *users;
};

void principals_deinit(struct principals *principals);
struct login *principals_add_login(struct principals *principals, const char *name);
struct user *principals_add_user(struct principals *principals, const char *name);

/* The login of that name on the instance (names ignore case), or NULL. */
const struct login *principals_find_login(const struct principals *principals, size_t instance,
                                          const char *name);
/* Server rights of the login and, by its SID, database rights; a sysadmin has every right. */
unsigned principals_rights(const struct principals *principals, const struct login *login);

/*
 * A login by name and password, or a Windows account that a ticket proved (password NULL): 0 and
 * the login, or SQL Server's error (2.2): 18456, 18470, 18486, 18487, 18488, 18401, 18461. Counts
 * bad passwords.
 */
int32_t principals_log_in(struct principals *principals, const struct login_gate *gate,
                          const char *name, const char *password, const struct login **ret_login);
