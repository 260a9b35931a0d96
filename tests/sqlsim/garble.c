/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/garble.h"

#include <stddef.h>

#define CUT_ONE_IN 6

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
    uint64_t number = *state += UINT64_C(0x9e3779b97f4a7c15);

    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

/* What a length, a count or a type is most likely to be misread as. */
static uint8_t other_byte(uint64_t number)
{
    static const uint8_t extremes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    const uint8_t any = (uint8_t)(number >> 8);

    return number % 2 ? extremes[any % sizeof(extremes)] : any;
}

void garble(struct evbuffer *tokens, int64_t seed, unsigned number)
{
    const size_t len = evbuffer_get_length(tokens);
    uint64_t state = (uint64_t)seed << 32 | number;
    uint8_t *bytes = evbuffer_pullup(tokens, -1);
    struct evbuffer *head;

    /* The answer to the login is left alone most of the time, or nothing would come behind it. */
    if (seed == 0 || len == 0 || (number == 0 && next(&state) % 4 != 0))
        return;
    for (uint64_t left = 1 + next(&state) % 3; left > 0; left--) {
        const size_t at = (size_t)(next(&state) % len);

        bytes[at] = other_byte(next(&state));
    }
    if (next(&state) % CUT_ONE_IN != 0)
        return;
    head = evbuffer_new();
    if (!head)
        return;
    evbuffer_remove_buffer(tokens, head, (size_t)(next(&state) % len));
    evbuffer_drain(tokens, evbuffer_get_length(tokens));
    evbuffer_add_buffer(tokens, head);
    evbuffer_free(head);
}

void garbage(struct evbuffer *bytes, int64_t seed)
{
    const size_t len = evbuffer_get_length(bytes);
    uint64_t state = (uint64_t)seed;
    uint8_t *at = evbuffer_pullup(bytes, -1);

    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)next(&state);
}
