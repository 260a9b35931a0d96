/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The extended properties of a database itself (class 0): binary values under names. */
struct property {
    char *name;
    char *value; /* hexadecimal digits, without 0x */
};

/* A zeroed one is valid and empty. Names ignore case. */
struct properties {
    size_t count;
    struct property *entries;
};

void properties_deinit(struct properties *properties);
void properties_copy(const struct properties *from, struct properties *to); /* to: zeroed */
const struct property *properties_find(const struct properties *properties, const char *name);
/* In place of the value before. */
void properties_set(struct properties *properties, const char *name, const char *value);
void properties_remove(struct properties *properties, const char *name);
