/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/property.h"

#include "tests/sqlsim/memory.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void property_deinit(struct property *property)
{
    free(property->name);
    free(property->value);
}

void properties_deinit(struct properties *properties)
{
    for (size_t i = 0; i < properties->count; i++)
        property_deinit(&properties->entries[i]);
    free(properties->entries);
    *properties = (struct properties){0};
}

void properties_copy(const struct properties *from, struct properties *to)
{
    for (size_t i = 0; i < from->count; i++)
        properties_set(to, from->entries[i].name, from->entries[i].value);
}

static struct property *find(const struct properties *properties, const char *name)
{
    for (size_t i = 0; i < properties->count; i++) {
        if (strcasecmp(properties->entries[i].name, name) == 0)
            return &properties->entries[i];
    }
    return NULL;
}

const struct property *properties_find(const struct properties *properties, const char *name)
{
    return find(properties, name);
}

void properties_set(struct properties *properties, const char *name, const char *value)
{
    struct property *property = find(properties, name);

    if (!property) {
        properties->entries =
            memory_grow(properties->entries, properties->count + 1, sizeof(*properties->entries));
        property = &properties->entries[properties->count++];
        *property = (struct property){.name = memory_copy(name)};
    }
    free(property->value);
    property->value = memory_copy(value);
}

void properties_remove(struct properties *properties, const char *name)
{
    struct property *property = find(properties, name);

    if (!property)
        return;
    property_deinit(property);
    *property = properties->entries[--properties->count];
}
