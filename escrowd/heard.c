/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/heard.h"

#include <stddef.h>
#include <stdlib.h>

/* More than GET /v1/status lists. */
#define PLACES 256

/* A request has one place, and leaves it to the next one that belongs there. */
struct heard {
    struct {
        uint64_t request; /* 0: none */
        int64_t last_ms;
    } places[PLACES];
};

struct heard *heard_new(void)
{
    return calloc(1, sizeof(struct heard));
}

void heard_free(struct heard *heard)
{
    free(heard);
}

void heard_note(struct heard *heard, uint64_t request, int64_t now_ms)
{
    heard->places[request % PLACES].request = request;
    heard->places[request % PLACES].last_ms = now_ms;
}

int64_t heard_last(const struct heard *heard, uint64_t request)
{
    size_t place = (size_t)(request % PLACES);

    return heard->places[place].request == request ? heard->places[place].last_ms : 0;
}
