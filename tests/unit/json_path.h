/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

/*
 * Sets one member of a document, which takes the value: "objects.0.name" is the name of the first
 * of the objects (one digit). All but the last must be there. Failures are cmocka's.
 */
void json_path_set(json_t *document, const char *path, json_t *value);
