/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_choice.h"

#include "libescrow/cleanup.h"

static bool is_tried(const struct worker_tried *tried, const struct tpm_name *name)
{
    for (size_t i = 0; i < tried->count; i++)
        if (tpm_name_equal(&tried->names[i], name))
            return true;
    return false;
}

void worker_note_tried(struct worker_tried *tried, const struct answer *challenge,
                       const struct worker_choice *choice)
{
    for (size_t i = 0; i < choice->count && tried->count < ARRAY_LEN(tried->names); i++)
        tried->names[tried->count++] = challenge->objects[choice->index[i]].name;
}

struct worker_choice worker_choose(const struct answer *challenge, const struct worker_tried *tried)
{
    struct worker_choice choice = {0};

    /* A member that shows new objects without end must not keep a worker busy. */
    if (tried->count == ARRAY_LEN(tried->names))
        return choice;
    for (size_t i = 0; i < challenge->object_count; i++) {
        if (is_tried(tried, &challenge->objects[i].name))
            continue;
        if (challenge->objects[i].state == SECRET_ACTIVE)
            return (struct worker_choice){.count = 1, .index = {i}};
        choice.index[choice.count++] = i;
    }
    return choice;
}

unsigned worker_weight(enum worker_outcome outcome)
{
    switch (outcome) {
    case WORKER_WRONG_PASSWORD:
        return 5;
    case WORKER_NEEDS_APPROVAL:
        return 4;
    case WORKER_DENIED:
        return 3;
    case WORKER_DISTRUSTED:
        return 2;
    case WORKER_UNAVAILABLE:
        return 1;
    case WORKER_DIED:
    case WORKER_OPENED:
    case WORKER_ALREADY_OPEN:
    case WORKER_LOGIN_REFUSED:
    case WORKER_SQL_UNREACHABLE:
    case WORKER_SQL_FAILED:
    case WORKER_NOT_PROVED:
    case WORKER_LOCAL:
    case WORKER_OUTCOMES:
        return 0;
    }
    return 0;
}
