/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/key_object.h"

#include "tests/sqlsim/memory.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void free_object(struct key_object *object)
{
    free(object->name);
    free(object->certificate);
}

void key_objects_deinit(struct key_objects *objects)
{
    for (size_t i = 0; i < objects->count; i++)
        free_object(&objects->objects[i]);
    free(objects->objects);
    memset(objects, 0, sizeof(*objects));
}

void key_objects_copy(const struct key_objects *from, struct key_objects *ret_objects)
{
    struct key_objects copy = {0};

    for (size_t i = 0; i < from->count; i++) {
        const struct key_object *object = &from->objects[i];
        struct key_object *added = key_objects_add(&copy, object->kind, object->name);

        added->certificate = object->certificate ? memory_copy(object->certificate) : NULL;
        added->has_password = object->has_password;
        added->generation = object->generation;
    }
    *ret_objects = copy;
}

struct key_object *key_objects_find(const struct key_objects *objects, enum key_object_kind kind,
                                    const char *name)
{
    for (size_t i = 0; i < objects->count; i++) {
        struct key_object *object = &objects->objects[i];

        if (object->kind == kind && strcasecmp(object->name, name) == 0)
            return object;
    }
    return NULL;
}

struct key_object *key_objects_add(struct key_objects *objects, enum key_object_kind kind,
                                   const char *name)
{
    struct key_object *object;

    objects->objects = memory_grow(objects->objects, objects->count + 1, sizeof(*objects->objects));
    object = &objects->objects[objects->count++];
    *object = (struct key_object){.kind = kind, .name = memory_copy(name)};
    return object;
}

void key_objects_remove(struct key_objects *objects, struct key_object *object)
{
    free_object(object);
    *object = objects->objects[--objects->count];
}

const struct key_object *key_objects_under(const struct key_objects *objects,
                                           const char *certificate)
{
    for (size_t i = 0; i < objects->count; i++) {
        const struct key_object *object = &objects->objects[i];

        if (object->certificate && strcasecmp(object->certificate, certificate) == 0)
            return object;
    }
    return NULL;
}

const struct key_object *key_objects_under_master_key(const struct key_objects *objects)
{
    for (size_t i = 0; i < objects->count; i++) {
        if (objects->objects[i].kind == KEY_CERTIFICATE && !objects->objects[i].has_password)
            return &objects->objects[i];
    }
    return NULL;
}
