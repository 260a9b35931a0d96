/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include <stddef.h>

/* Rosters with thousands of keys, for tests. */

/* Agents spiffe://corp.example/crowd-N of instance crowd-N until there are so many keys. */
void keeper_roster_add(json_t *payload, size_t keys);
