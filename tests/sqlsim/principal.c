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

const struct login *principals_find_login(const struct principals *principals, size_t instance,
                                          const char *name)
{
    for (size_t i = 0; i < principals->login_count; i++) {
        const struct login *login = &principals->logins[i];

        if (login->instances >> instance & 1 && strcasecmp(login->name, name) == 0)
            return login;
    }
    return NULL;
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
