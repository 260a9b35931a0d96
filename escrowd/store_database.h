/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/store.h"

#include <sqlite3.h>

/* The connection of a store, for store_query.c alone. Never NULL. */
sqlite3 *store_database(struct store *store);
