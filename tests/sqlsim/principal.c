/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/principal.h"

#include "tests/sqlsim/memory.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

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

struct sid sid_of_name(const char *name)
{
    struct sid sid = {.len = 16};
    uint8_t digest[SHA256_DIGEST_LENGTH];

    if (!EVP_Digest(name, strlen(name), digest, NULL, EVP_sha256(), NULL))
        abort();
    memcpy(sid.bytes, digest, sid.len);
    return sid;
}

bool sid_equals(const struct sid *one, const struct sid *other)
{
    return one->len == other->len && memcmp(one->bytes, other->bytes, one->len) == 0;
}

static void login_deinit(struct login *login)
{
    if (login->password)
        OPENSSL_cleanse(login->password, strlen(login->password));
    free(login->password);
    free(login->name);
}

void logins_deinit(struct logins *logins)
{
    for (size_t i = 0; i < logins->count; i++)
        login_deinit(&logins->entries[i]);
    free(logins->entries);
    *logins = (struct logins){0};
}

void logins_copy(const struct logins *from, struct logins *to)
{
    for (size_t i = 0; i < from->count; i++) {
        struct login *login = logins_add(to, from->entries[i].name);
        char *name = login->name;

        *login = from->entries[i];
        login->name = name;
        login->password = login->password ? memory_copy(login->password) : NULL;
    }
}

struct login *logins_add(struct logins *logins, const char *name)
{
    logins->entries = memory_grow(logins->entries, logins->count + 1, sizeof(*logins->entries));
    logins->entries[logins->count] = (struct login){.name = memory_copy(name)};
    return &logins->entries[logins->count++];
}

struct login *logins_find(const struct logins *logins, const char *name)
{
    for (size_t i = 0; i < logins->count; i++) {
        if (strcasecmp(logins->entries[i].name, name) == 0)
            return &logins->entries[i];
    }
    return NULL;
}

struct login *logins_find_sid(const struct logins *logins, const struct sid *sid)
{
    for (size_t i = 0; i < logins->count; i++) {
        if (sid_equals(&logins->entries[i].sid, sid))
            return &logins->entries[i];
    }
    return NULL;
}

void logins_remove(struct logins *logins, struct login *login)
{
    login_deinit(login);
    *login = logins->entries[--logins->count];
}

void users_deinit(struct users *users)
{
    for (size_t i = 0; i < users->count; i++)
        free(users->entries[i].name);
    free(users->entries);
    *users = (struct users){0};
}

void users_copy(const struct users *from, struct users *to)
{
    for (size_t i = 0; i < from->count; i++) {
        struct user *user = users_add(to, from->entries[i].name);

        user->sid = from->entries[i].sid;
        user->rights = from->entries[i].rights;
    }
}

struct user *users_add(struct users *users, const char *name)
{
    users->entries = memory_grow(users->entries, users->count + 1, sizeof(*users->entries));
    users->entries[users->count] = (struct user){.name = memory_copy(name)};
    return &users->entries[users->count++];
}

struct user *users_find(const struct users *users, const char *name)
{
    for (size_t i = 0; i < users->count; i++) {
        if (strcasecmp(users->entries[i].name, name) == 0)
            return &users->entries[i];
    }
    return NULL;
}

struct user *users_find_sid(const struct users *users, const struct sid *sid)
{
    for (size_t i = 0; i < users->count; i++) {
        if (sid_equals(&users->entries[i].sid, sid))
            return &users->entries[i];
    }
    return NULL;
}

void users_remove(struct users *users, struct user *user)
{
    free(user->name);
    *user = users->entries[--users->count];
}

static int32_t check_password(struct login *login, const struct login_gate *gate,
                              const char *password)
{
    bool is_right = login->password && strcmp(login->password, password) == 0;

    if (login->is_locked && (is_right || !gate->locked_needs_password))
        return 18486;
    if (is_right) {
        login->bad_passwords = 0;
        return 0;
    }
    if (gate->lockout_threshold && ++login->bad_passwords >= gate->lockout_threshold)
        login->is_locked = true;
    return 18456;
}

/* Who knows the password learns why it does not help; the order of these is inferred. */
static int32_t check_account(const struct login *login, const struct login_gate *gate)
{
    bool is_administrator = login->rights & RIGHT_SYSADMIN;

    if (login->is_disabled)
        return 18470;
    if (login->must_change)
        return 18488;
    if (login->is_expired)
        return 18487;
    if (gate->is_upgrading && !is_administrator)
        return 18401;
    if (gate->is_single_user && (!is_administrator || gate->has_sessions))
        return 18461;
    return 0;
}

int32_t logins_log_in(struct logins *logins, const struct login_gate *gate, const char *name,
                      const char *password, struct login **ret_login)
{
    struct login *login = logins_find(logins, name);
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
