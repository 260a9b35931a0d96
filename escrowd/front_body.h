/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/identity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How large a body may be. One of more than IPC_BODY_MAX bytes (publish) is held in memory while it
 * arrives, and whoever has a certificate may send one: so there are a few places for them, one of
 * an identity at a time, and without a place a body is as small as all others.
 */
#define FRONT_BODY_PLACES 4
#define FRONT_LINE_BYTES 17 /* of a request line: "POST /v1/publish" and what ends it */

struct front_bodies {
    struct front_body_place {
        const void *holder; /* a connection; NULL: free */
        char identity[IDENTITY_MAX + 1];
    } places[FRONT_BODY_PLACES];
};

/* Notes these bytes of a head, of which at came before, as far as its first line is looked at. */
void front_body_line(char line[static FRONT_LINE_BYTES], size_t at, const uint8_t *bytes,
                     size_t len);
/* The line is one of a request that may have a large body. */
bool front_body_is_large(const char line[static FRONT_LINE_BYTES]);

/* A place for the holder, who has none. False: all are taken, or the identity has one. */
bool front_bodies_take(struct front_bodies *bodies, const void *holder, const char *identity);
/* Whether the holder has one or not. */
void front_bodies_leave(struct front_bodies *bodies, const void *holder);
