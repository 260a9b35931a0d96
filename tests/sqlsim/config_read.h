/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/cleanup.h"
#include "tests/sqlsim/simulator.h"

#include <jansson.h>

/* What the parts of the configuration have in common. Each says on standard error what is wrong. */

CLEANUP_FUNCTION(json_decref_p, json_t, json_decref)

/* Says it; always ESCROW_ERR_CONFIG. */
enum escrow_err config_wrong(const char *place, const char *what);
/* Refuses keys that are not in the list, which ends with NULL. */
MUST_CHECK enum escrow_err config_check_keys(const json_t *object, const char *place,
                                             const char *const *known);
/* A text, or the default if the key is missing; NULL if it is something else. */
const char *config_text(const json_t *object, const char *key, const char *missing);
/* The place of a key's word in the list (which ends with NULL), or the first if it is missing. */
MUST_CHECK enum escrow_err config_word(const json_t *object, const char *key,
                                       const char *const *words, size_t *ret_index);
void config_replace(char **text, const char *value);

/* config_group.c: groups with their databases, and databases beside them. The instances are there
 * already. */
MUST_CHECK enum escrow_err config_load_groups(const json_t *root, struct model *model);
/* config_script.c: runs it on every instance. */
MUST_CHECK enum escrow_err config_run_script(const json_t *entry, struct model *model);
/* config_login.c */
MUST_CHECK enum escrow_err config_load_login(const json_t *entry, struct model *model);
