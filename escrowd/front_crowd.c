/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_crowd.h"

#include <stdio.h>
#include <string.h>

void front_crowd_init(struct front_crowd *crowd)
{
    TAILQ_INIT(&crowd->open);
    TAILQ_INIT(&crowd->strangers);
    crowd->count = 0;
}

void front_crowd_enter(struct front_crowd *crowd, struct front_member *member, int64_t now_ms)
{
    member->since_ms = now_ms;
    member->is_open = true;
    member->is_stranger = true;
    TAILQ_INSERT_HEAD(&crowd->open, member, open);
    TAILQ_INSERT_HEAD(&crowd->strangers, member, strangers);
    crowd->count++;
}

static void end_strangeness(struct front_crowd *crowd, struct front_member *member)
{
    if (!member->is_stranger)
        return;
    member->is_stranger = false;
    TAILQ_REMOVE(&crowd->strangers, member, strangers);
}

void front_crowd_identify(struct front_crowd *crowd, struct front_member *member,
                          const char *identity)
{
    snprintf(member->identity, sizeof(member->identity), "%s", identity);
    end_strangeness(crowd, member);
}

void front_crowd_leave(struct front_crowd *crowd, struct front_member *member)
{
    member->is_leaving = true;
    end_strangeness(crowd, member);
}

void front_crowd_remove(struct front_crowd *crowd, struct front_member *member)
{
    if (!member->is_open)
        return;
    member->is_open = false;
    end_strangeness(crowd, member);
    TAILQ_REMOVE(&crowd->open, member, open);
    crowd->count--;
}

struct front_member *front_crowd_oldest_stranger(const struct front_crowd *crowd)
{
    return TAILQ_LAST(&crowd->strangers, front_member_list);
}

size_t front_crowd_of(const struct front_crowd *crowd, const char *identity,
                      bool (*may_end)(const struct front_member *member),
                      struct front_member **ret_oldest)
{
    struct front_member *oldest = NULL;
    size_t count = 0;

    for (struct front_member *member = TAILQ_FIRST(&crowd->open); member;
         member = TAILQ_NEXT(member, open)) {
        if (member->is_leaving || strcmp(member->identity, identity) != 0)
            continue;
        count++;
        if (may_end(member))
            oldest = member;
    }
    *ret_oldest = oldest;
    return count;
}
