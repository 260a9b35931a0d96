/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <event2/buffer.h>

#include <stdint.h>

/*
 * Alters an answer (a token stream) as a broken or hostile server would: one to three bytes become
 * others, or its end is cut off. Which, follows from seed and number alone. Seed 0 alters nothing.
 */
void garble(struct evbuffer *tokens, int64_t seed, unsigned number);

/* Random bytes, which follow from the seed alone, in place of all of these. */
void garbage(struct evbuffer *bytes, int64_t seed);
