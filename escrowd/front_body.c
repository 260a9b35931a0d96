/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_body.h"

#include <stdio.h>
#include <string.h>

void front_body_line(char line[static FRONT_LINE_BYTES], size_t at, const uint8_t *bytes,
                     size_t len)
{
    for (size_t i = 0; i < len && at + i < FRONT_LINE_BYTES; i++)
        line[at + i] = (char)bytes[i];
}

bool front_body_is_large(const char line[static FRONT_LINE_BYTES])
{
    static const char publish[] = "POST /v1/publish";
    const size_t len = sizeof(publish) - 1;

    return memcmp(line, publish, len) == 0 && (line[len] == ' ' || line[len] == '?');
}

bool front_bodies_take(struct front_bodies *bodies, const void *holder, const char *identity)
{
    struct front_body_place *free_place = NULL;

    for (size_t i = 0; i < FRONT_BODY_PLACES; i++) {
        struct front_body_place *place = &bodies->places[i];

        if (!place->holder)
            free_place = place;
        else if (strcmp(place->identity, identity) == 0)
            return false;
    }
    if (!free_place)
        return false;
    free_place->holder = holder;
    snprintf(free_place->identity, sizeof(free_place->identity), "%s", identity);
    return true;
}

void front_bodies_leave(struct front_bodies *bodies, const void *holder)
{
    for (size_t i = 0; i < FRONT_BODY_PLACES; i++) {
        if (bodies->places[i].holder == holder)
            bodies->places[i].holder = NULL;
    }
}
