/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/*
 * How often these bytes stand in this process's writable memory (heap, anonymous mappings, stack),
 * freed blocks included; secret is where they may stand, and is not counted.
 */
size_t memory_search(const void *bytes, size_t len, const void *secret);
