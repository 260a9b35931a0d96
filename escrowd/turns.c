/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/turns.h"

#include <string.h>

void turns_init(struct turns *turns)
{
    TAILQ_INIT(&turns->queue);
    turns->round = 0;
}

void turns_wait(struct turns *turns, struct turn *turn, const char *whose, void *owner)
{
    struct turn *other = TAILQ_FIRST(&turns->queue);

    *turn = (struct turn){.whose = whose, .round = turns->round, .owner = owner};
    for (; other; other = TAILQ_NEXT(other, next)) {
        if (strcmp(other->whose, whose) == 0)
            turn->round = other->round + 1;
    }
    other = TAILQ_FIRST(&turns->queue);
    while (other && other->round <= turn->round)
        other = TAILQ_NEXT(other, next);
    if (other)
        TAILQ_INSERT_BEFORE(other, turn, next);
    else
        TAILQ_INSERT_TAIL(&turns->queue, turn, next);
}

void turns_leave(struct turns *turns, struct turn *turn)
{
    TAILQ_REMOVE(&turns->queue, turn, next);
}

struct turn *turns_next(const struct turns *turns)
{
    return TAILQ_FIRST(&turns->queue);
}

void turns_had(struct turns *turns, const struct turn *turn)
{
    turns->round = turn->round;
}
