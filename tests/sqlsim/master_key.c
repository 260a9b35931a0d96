/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/master_key.h"

#include "tests/sqlsim/memory.h"

#include <openssl/crypto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_password(char *password)
{
    OPENSSL_cleanse(password, strlen(password));
    free(password);
}

static void drop_passwords(struct master_key *key)
{
    for (size_t i = 0; i < key->password_count; i++)
        free_password(key->passwords[i]);
    free(key->passwords);
    key->passwords = NULL;
    key->password_count = 0;
}

void master_key_deinit(struct master_key *key)
{
    drop_passwords(key);
    key_objects_deinit(&key->objects);
    memset(key, 0, sizeof(*key));
}

void master_key_copy(const struct master_key *from, struct master_key *ret_key)
{
    struct master_key copy = *from;

    copy.passwords = NULL;
    copy.password_count = 0;
    for (size_t i = 0; i < from->password_count; i++)
        (void)master_key_add_password(&copy, from->passwords[i], 0);
    key_objects_copy(&from->objects, &copy.objects);
    *ret_key = copy;
}

void master_key_create(struct master_key *key, uint32_t generation, const char *password)
{
    drop_passwords(key);
    master_key_drop_service_key(key);
    key->exists = true;
    key->generation = generation;
    (void)master_key_add_password(key, password, 0);
}

int32_t master_key_drop(struct master_key *key)
{
    if (key_objects_under_master_key(&key->objects))
        return 15580; /* 1.4, live */
    drop_passwords(key);
    master_key_drop_service_key(key);
    key->exists = false;
    return 0;
}

void master_key_replace(struct master_key *key, uint32_t generation, const char *password,
                        bool opens)
{
    for (size_t i = 0; i < key->objects.count; i++) {
        struct key_object *object = &key->objects.objects[i];

        if (object->kind == KEY_CERTIFICATE && !object->has_password &&
            object->generation != generation)
            object->generation = opens && object->generation == key->generation ? generation : 0;
    }
    drop_passwords(key);
    key->exists = true;
    key->generation = generation;
    (void)master_key_add_password(key, password, 0);
}

static size_t find_password(const struct master_key *key, const char *password)
{
    size_t i = 0;

    while (i < key->password_count && strcmp(key->passwords[i], password) != 0)
        i++;
    return i;
}

bool master_key_has_password(const struct master_key *key, const char *password)
{
    return find_password(key, password) < key->password_count;
}

int32_t master_key_add_password(struct master_key *key, const char *password, int32_t on_duplicate)
{
    if (master_key_has_password(key, password))
        return on_duplicate;
    key->passwords = memory_grow(key->passwords, key->password_count + 1, sizeof(*key->passwords));
    key->passwords[key->password_count++] = memory_copy(password);
    return 0;
}

int32_t master_key_drop_password(struct master_key *key, const char *password)
{
    size_t found = find_password(key, password);

    if (found == key->password_count)
        return 15313; /* 1.4, live */
    if (key->password_count == 1)
        return 15558; /* 1.4, live: never the last one */
    free_password(key->passwords[found]);
    key->passwords[found] = key->passwords[--key->password_count];
    return 0;
}

void master_key_add_service_key(struct master_key *key, const char *service_key)
{
    /* 1.9: one row, the last writer wins; a row of another SMK does not stand in the way (1.4). */
    snprintf(key->service_key, sizeof(key->service_key), "%s", service_key);
}

bool master_key_wrapped_by(const struct master_key *key, const char *service_key)
{
    return key->exists && key->service_key[0] && strcmp(key->service_key, service_key) == 0;
}

void master_key_drop_service_key(struct master_key *key)
{
    key->service_key[0] = '\0';
}

bool master_key_has_certificate(const struct master_key *key, const char *name)
{
    const struct key_object *certificate = key_objects_find(&key->objects, KEY_CERTIFICATE, name);

    return certificate && !certificate->has_password && certificate->generation == key->generation;
}

bool master_key_credential_opens(const struct master_key *key,
                                 const struct credentials *credentials, uint32_t family)
{
    for (size_t i = 0; i < credentials->count; i++) {
        if (credentials->entries[i].family == family &&
            master_key_has_password(key, credentials->entries[i].password))
            return true;
    }
    return false;
}

void master_key_set_probe(struct master_key *key, bool has_probe)
{
    struct key_object *probe = key_objects_find(&key->objects, KEY_CERTIFICATE, MASTER_KEY_PROBE);

    if (has_probe && !probe)
        probe = key_objects_add(&key->objects, KEY_CERTIFICATE, MASTER_KEY_PROBE);
    if (has_probe)
        probe->generation = key->generation;
    else if (probe)
        key_objects_remove(&key->objects, probe);
}
