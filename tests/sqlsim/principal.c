/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/principal.h"

#include "tests/sqlsim/memory.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *word;
    unsigned right;
} words[] = {
    {"sysadmin", RIGHT_SYSADMIN},
    {"VIEW SERVER STATE", RIGHT_VIEW_SERVER_STATE},
    {"VIEW SERVER PERFORMANCE STATE", RIGHT_VIEW_SERVER_PERFORMANCE_STATE},
    {"VIEW ANY DEFINITION", RIGHT_VIEW_ANY_DEFINITION},
    {"CONNECT", RIGHT_CONNECT},
    {"CONTROL", RIGHT_CONNECT | RIGHT_CONTROL_DATABASE},
    {"CONTROL ON CERTIFICATE", RIGHT_CONNECT | RIGHT_CONTROL_CERTIFICATE},
    {"ssis_admin", RIGHT_CONNECT | RIGHT_SSIS_ADMIN},
    {"ssis_failover_monitoring_agent", RIGHT_CONNECT | RIGHT_SSIS_ADMIN},
};

enum escrow_err principal_right_parse(const char *word, unsigned *ret_right)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(words[i].word, word) == 0) {
            *ret_right = words[i].right;
            return ESCROW_OK;
        }
    }
    return ESCROW_ERR_NOT_FOUND;
}

void principals_deinit(struct principals *principals)
{
    for (size_t i = 0; i < principals->login_count; i++) {
        struct login *login = &principals->logins[i];

        if (login->password)
            OPENSSL_cleanse(login->password, strlen(login->password));
        free(login->password);
        free(login->name);
    }
    for (size_t i = 0; i < principals->user_count; i++)
        free(principals->users[i].name);
    free(principals->logins);
    free(principals->users);
    memset(principals, 0, sizeof(*principals));
}

struct login *principals_add_login(struct principals *principals, const char *name)
{
    struct login *login;

    principals->logins =
        memory_grow(principals->logins, principals->login_count + 1, sizeof(*principals->logins));
    login = &principals->logins[principals->login_count++];
    *login = (struct login){.name = memory_copy(name)};
    return login;
}

struct user *principals_add_user(struct principals *principals, const char *name)
{
    struct user *user;

    principals->users =
        memory_grow(principals->users, principals->user_count + 1, sizeof(*principals->users));
    user = &principals->users[principals->user_count++];
    *user = (struct user){.name = memory_copy(name)};
    return user;
}

static struct login *find_login(const struct principals *principals, size_t instance,
                                const char *name)
{
    for (size_t i = 0; i < principals->login_count; i++) {
        struct login *login = &principals->logins[i];

        if (login->instances >> instance & 1 && strcasecmp(login->name, name) == 0)
            return login;
    }
    return NULL;
}

const struct login *principals_find_login(const struct principals *principals, size_t instance,
                                          const char *name)
{
    return find_login(principals, instance, name);
}

unsigned principals_rights(const struct principals *principals, const struct login *login)
{
    unsigned rights = login->rights;

    if (rights & RIGHT_SYSADMIN)
        return ~0U;
    for (size_t i = 0; i < principals->user_count; i++) {
        const struct user *user = &principals->users[i];

        if (user->sid.len == login->sid.len &&
            memcmp(user->sid.bytes, login->sid.bytes, user->sid.len) == 0)
            rights |= user->rights;
    }
    return rights;
}

static int32_t check_password(struct login *login, const struct login_gate *gate,
                              const char *password)
{
    uint64_t here = UINT64_C(1) << gate->instance;
    uint32_t *bad = &login->bad_passwords[gate->instance];
    bool is_right = login->password && strcmp(login->password, password) == 0;

    if (login->locked & here && (is_right || !gate->locked_needs_password))
        return 18486;
    if (is_right) {
        *bad = 0;
        return 0;
    }
    if (gate->lockout_threshold && ++*bad >= gate->lockout_threshold)
        login->locked |= here;
    return 18456;
}

/* Who knows the password learns why it does not help; the order of these is inferred. */
static int32_t check_account(const struct login *login, const struct login_gate *gate)
{
    uint64_t here = UINT64_C(1) << gate->instance;
    bool is_administrator = login->rights & RIGHT_SYSADMIN;

    if (login->is_disabled)
        return 18470;
    if (login->must_change & here)
        return 18488;
    if (login->expired & here)
        return 18487;
    if (gate->is_upgrading && !is_administrator)
        return 18401;
    if (gate->is_single_user && (!is_administrator || gate->has_sessions))
        return 18461;
    return 0;
}

int32_t principals_log_in(struct principals *principals, const struct login_gate *gate,
                          const char *name, const char *password, const struct login **ret_login)
{
    struct login *login = find_login(principals, gate->instance, name);
    int32_t number;

    /* One text for an unknown login and a wrong password: the client always sees state 1 (2.2). */
    if (!login || (!password && login->password))
        return 18456;
    number = password ? check_password(login, gate, password) : 0;
    if (!number)
        number = check_account(login, gate);
    if (!number)
        *ret_login = login;
    return number;
}
