/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_poll.h"

#include "escrowd/clock.h"

#include <stdlib.h>
#include <string.h>

/* Of which replica of which database an instance speaks; in the order of target.h. */
struct place {
    uint32_t target;
    uint32_t replica;
};

/* What one question asks of an instance. */
struct part {
    struct poll *poll;
    const char *instance;
    const struct place *places;
    uint32_t first, count; /* numbers of target.h */
    uint64_t question;     /* 0: none is open */
    int64_t asked_ms;
};

struct poll {
    struct poll_config config;
    struct place *places; /* of all instances, one after the other */
    size_t place_count;
    struct part *parts;
    size_t part_count;
};

static void hand_out(const struct part *part, const struct ipc_probe_states *states)
{
    const struct poll_config *config = &part->poll->config;

    for (uint32_t i = 0; i < part->count; i++) {
        const struct poll_answer answer = {
            .target = part->places[i].target,
            .replica = part->places[i].replica,
            .state = states ? &states->items[i] : NULL,
            .asked_ms = part->asked_ms,
        };

        config->on_answer(&answer, config->argument);
    }
    config->on_end(config->argument);
}

static void on_states(const struct prober_answer *answer, void *argument)
{
    struct part *part = argument;

    part->question = 0;
    hand_out(part, answer->states);
}

static void ask(struct part *part)
{
    const struct prober_ask ask = {
        .instance = part->instance,
        .asker = PROBERS_WATCH,
        .type = IPC_PROBE_ASK_STATES,
        .question = {.target = part->first, .count = part->count},
        .on_answer = on_states,
        .argument = part,
    };
    uint64_t id;

    part->asked_ms = clock_boot_ms();
    if (probers_ask(part->poll->config.probers, &ask, &id))
        hand_out(part, NULL);
    else
        part->question = id;
}

void poll_ask(struct poll *poll)
{
    for (size_t i = 0; i < poll->part_count; i++) {
        if (!poll->parts[i].question)
            ask(&poll->parts[i]);
    }
}

static bool is_known(const struct poll *poll, const char *instance)
{
    for (size_t i = 0; i < poll->part_count; i++) {
        const char *known = poll->parts[i].instance;

        if (known && strcmp(known, instance) == 0)
            return true;
    }
    return false;
}

static void add_parts(struct poll *poll, const char *instance, const struct place *places,
                      size_t count)
{
    for (size_t first = 0; first < count; first += PROBE_STATES_MAX) {
        size_t left = count - first;

        poll->parts[poll->part_count++] = (struct part){
            .poll = poll,
            .instance = instance,
            .places = &places[first],
            .first = (uint32_t)first,
            .count = (uint32_t)(left < PROBE_STATES_MAX ? left : PROBE_STATES_MAX),
        };
    }
}

static void add_instance(struct poll *poll, const char *instance)
{
    const struct policy_group *groups;
    size_t group_count = policy_groups(poll->config.policy, &groups), before = poll->place_count;
    uint32_t target = 0;

    if (is_known(poll, instance))
        return;
    for (size_t i = 0; i < group_count; i++) {
        const struct policy_replica *replica = policy_find_replica(&groups[i], instance);

        for (size_t j = 0; j < groups[i].database_count; j++, target++) {
            if (replica)
                poll->places[poll->place_count++] =
                    (struct place){target, (uint32_t)(replica - groups[i].replicas)};
        }
    }
    add_parts(poll, instance, &poll->places[before], poll->place_count - before);
}

enum escrow_err poll_new(const struct poll_config *config, struct poll **ret_poll)
{
    CLEANUP(poll_free_p) struct poll *poll = calloc(1, sizeof(*poll));
    const struct policy_group *groups;
    size_t group_count = policy_groups(config->policy, &groups), places = 0, instances = 0;

    if (!poll)
        return ESCROW_ERR_NO_MEMORY;
    poll->config = *config;
    for (size_t i = 0; i < group_count; i++) {
        places += groups[i].database_count * groups[i].replica_count;
        instances += groups[i].replica_count; /* at most */
    }
    poll->places = calloc(places + 1, sizeof(*poll->places));
    /* Questions point at their part: the array never moves. */
    poll->parts = calloc(instances + places / PROBE_STATES_MAX + 1, sizeof(*poll->parts));
    if (!poll->places || !poll->parts)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].replica_count; j++)
            add_instance(poll, groups[i].replicas[j].instance);
    }
    *ret_poll = TAKE(poll);
    return ESCROW_OK;
}

void poll_free(struct poll *poll)
{
    for (size_t i = 0; i < poll->part_count; i++)
        probers_forget(poll->config.probers, poll->parts[i].question);
    free(poll->parts);
    free(poll->places);
    free(poll);
}
