/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Logins and users. A login belongs to an instance, or to the master of a contained group; a user
 * to a database, with which it is replicated. They meet by SID, never by name, so a login whose SID
 * differs on one instance cannot enter the database there (916): the user is an orphan.
 */
#define PRINCIPAL_SID_MAX 85 /* bytes, as in sys.server_principals */

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
    unsigned rights; /* server rights only */
    bool is_disabled, is_locked, is_expired, must_change;
    uint32_t bad_passwords; /* since the last good one */
};

/* What an instance asks of a login apart from its password. */
struct login_gate {
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

/* Zeroed ones are valid and empty. Names ignore case. */
struct logins {
    size_t count;
    struct login *entries;
};

struct users {
    size_t count;
    struct user *entries;
};

/* 16 bytes that only this name has: of a Windows account, as its domain gives one. */
struct sid sid_of_name(const char *name);
bool sid_equals(const struct sid *one, const struct sid *other);

void logins_deinit(struct logins *logins);
void logins_copy(const struct logins *from, struct logins *to); /* to: zeroed */
/* Valid until the next one is added or removed, as what the others return. */
struct login *logins_add(struct logins *logins, const char *name);
struct login *logins_find(const struct logins *logins, const char *name);          /* or NULL */
struct login *logins_find_sid(const struct logins *logins, const struct sid *sid); /* or NULL */
void logins_remove(struct logins *logins, struct login *login);

void users_deinit(struct users *users);
void users_copy(const struct users *from, struct users *to); /* to: zeroed */
struct user *users_add(struct users *users, const char *name);
struct user *users_find(const struct users *users, const char *name);          /* or NULL */
struct user *users_find_sid(const struct users *users, const struct sid *sid); /* or NULL */
void users_remove(struct users *users, struct user *user);

/*
 * A login by name and password, or a Windows account that a ticket proved (password NULL): 0 and
 * the login, or SQL Server's error (2.2): 18456, 18470, 18486, 18487, 18488, 18401, 18461. Counts
 * bad passwords.
 */
int32_t logins_log_in(struct logins *logins, const struct login_gate *gate, const char *name,
                      const char *password, struct login **ret_login);
