/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>
#include <sys/queue.h>

/*
 * Who is next, of many who wait for one thing: in each round every identity has one turn, so that
 * whoever asks for much waits for himself, and a newcomer for at most one turn of everybody else.
 */
struct turn {
    TAILQ_ENTRY(turn) next;
    const char *whose; /* an identity; borrowed while it waits */
    uint64_t round;
    void *owner;
};
TAILQ_HEAD(turn_queue, turn);

struct turns {
    struct turn_queue queue;
    uint64_t round; /* of the turn that was had last */
};

void turns_init(struct turns *turns);
/* Waits from now on, for the caller's owner; the turn stays the caller's. */
void turns_wait(struct turns *turns, struct turn *turn, const char *whose, void *owner);
/* Does not wait any more. */
void turns_leave(struct turns *turns, struct turn *turn);
/* Whose turn it is; NULL: nobody waits. Whoever takes it says so by turns_had, and leaves. */
struct turn *turns_next(const struct turns *turns);
void turns_had(struct turns *turns, const struct turn *turn);
