/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A look at the raw bytes of a request's head before evhttp parses them. evhttp accepts, and hides
 * from its handlers, what RFC 9112 tells a server to refuse and request smuggling is made of: bare
 * line feeds, folded lines (obs-fold), NUL and other control characters. It never changes a byte.
 */
enum front_scan_state {
    FRONT_SCAN_FIRST = 0, /* nothing of the request yet */
    FRONT_SCAN_LINE,      /* within a line */
    FRONT_SCAN_CR,        /* after its CR */
    FRONT_SCAN_START,     /* at the start of the next line */
    FRONT_SCAN_LAST_CR,   /* after the CR of the empty line */
    FRONT_SCAN_DONE,      /* the head is over; a body is not looked at */
    FRONT_SCAN_BAD,
};

/*
 * Takes the next bytes; set *state to FRONT_SCAN_FIRST for each new request. Returns how many of
 * them are of the head.
 */
size_t front_scan(enum front_scan_state *state, const uint8_t *bytes, size_t len);
