/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What lies under the master key of a database: certificates with their private keys, and symmetric
 * keys under certificates. Only whether a key can be used is known here, never any key material.
 */
enum key_object_kind { KEY_CERTIFICATE, KEY_SYMMETRIC };

struct key_object {
    enum key_object_kind kind;
    char *name;
    char *certificate;   /* of a symmetric key: the one that encrypts it; else NULL */
    bool has_password;   /* a certificate under a password of its own, not under the DMK */
    uint32_t generation; /* of the DMK that encrypts a certificate; 0: lost by FORCE */
};

struct key_objects {
    size_t count;
    struct key_object *objects;
};

void key_objects_deinit(struct key_objects *objects); /* a zeroed one is valid */
void key_objects_copy(const struct key_objects *from, struct key_objects *ret_objects);

/* By kind and name (without regard to case), or NULL. Valid until the next add or remove. */
struct key_object *key_objects_find(const struct key_objects *objects, enum key_object_kind kind,
                                    const char *name);
/* One that is not there yet; the rest of its fields are the caller's to fill in. */
struct key_object *key_objects_add(struct key_objects *objects, enum key_object_kind kind,
                                   const char *name);
void key_objects_remove(struct key_objects *objects, struct key_object *object);

/* A symmetric key under this certificate, or NULL. */
const struct key_object *key_objects_under(const struct key_objects *objects,
                                           const char *certificate);
/* A certificate under the DMK, or NULL. */
const struct key_object *key_objects_under_master_key(const struct key_objects *objects);
