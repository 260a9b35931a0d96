/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/*
 * When the requester of what waits for admins was last heard of. In memory only, so that nobody
 * waits for a disk because of it, and bounded. It decides nothing; people are told of it.
 */
struct heard;

/* NULL without memory. */
struct heard *heard_new(void);
void heard_free(struct heard *heard);

/* The requester of this number asks for the release, or waits for admins. CLOCK_BOOTTIME. */
void heard_note(struct heard *heard, uint64_t request, int64_t now_ms);
/* When that was last; 0: it is not known. */
int64_t heard_last(const struct heard *heard, uint64_t request);
