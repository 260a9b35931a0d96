/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_round.h"

#include "escrowd/clock.h"

#include <stdlib.h>
#include <string.h>

struct asked {
    struct round *round;
    size_t replica;
    uint64_t id;
};

struct round {
    struct round_config config;
    int64_t started_ms;
    struct policy_facts facts;
    struct asked states[POLICY_REPLICAS_MAX];
    struct asked session;
};

static void on_state(const struct prober_answer *answer, void *argument)
{
    const struct asked *asked = argument;
    struct round *round = asked->round;
    struct policy_replica_facts *known = &round->facts.replicas[asked->replica];

    if (known->status != POLICY_PENDING)
        return;
    known->status = answer->state ? POLICY_ANSWERED : POLICY_SILENT;
    known->answered_ms = clock_boot_ms() - round->started_ms;
    if (answer->state)
        known->state = *answer->state;
    round->config.on_change(round, asked->replica, round->config.argument);
}

static void on_session(const struct prober_answer *answer, void *argument)
{
    const struct asked *asked = argument;
    struct round *round = asked->round;
    bool is_found =
        answer->session && answer->session->outcome == PROBE_ANSWERED && answer->session->is_found;

    if (round->facts.session != POLICY_SESSION_PENDING)
        return;
    round->facts.session = is_found ? POLICY_SESSION_FOUND : POLICY_SESSION_MISSING;
    round->config.on_change(round, asked->replica, round->config.argument);
}

static bool is_overloaded(const struct round_config *config, const char *instance)
{
    return config->most_open && probers_open(config->probers, instance) >= config->most_open;
}

static void ask_state(struct round *round, size_t replica)
{
    const char *instance = round->config.target.group->replicas[replica].instance;
    struct policy_replica_facts *known = &round->facts.replicas[replica];
    struct asked *asked = &round->states[replica];
    struct ipc_probe_question question = {0};

    memcpy(known->instance, instance, strlen(instance) + 1);
    known->status = POLICY_PENDING;
    *asked = (struct asked){.round = round, .replica = replica};
    if (is_overloaded(&round->config, instance) ||
        target_number(round->config.policy, instance, &round->config.target, &question.target) ||
        probers_ask(round->config.probers, instance, IPC_PROBE_ASK_STATE, &question, on_state,
                    asked, &asked->id))
        known->status = POLICY_SILENT;
}

static void ask_session(struct round *round)
{
    const struct round_config *config = &round->config;
    struct ipc_probe_question question = {.login = config->login};

    round->facts.session = POLICY_SESSION_PENDING;
    round->session = (struct asked){.round = round};
    memcpy(question.nonce, config->nonce, sizeof(question.nonce));
    if (target_number(config->policy, config->candidate, &config->target, &question.target) ||
        probers_ask(config->probers, config->candidate, IPC_PROBE_ASK_SESSION, &question,
                    on_session, &round->session, &round->session.id))
        round->facts.session = POLICY_SESSION_MISSING;
}

enum escrow_err round_new(const struct round_config *config, struct round **ret_round)
{
    struct round *round = calloc(1, sizeof(*round));

    if (!round)
        return ESCROW_ERR_NO_MEMORY;
    round->config = *config;
    round->started_ms = clock_boot_ms();
    round->facts.session = POLICY_SESSION_MISSING;
    round->facts.replica_count = config->target.group->replica_count;
    for (size_t i = 0; i < round->facts.replica_count; i++)
        ask_state(round, i);
    if (config->candidate)
        ask_session(round);
    *ret_round = round;
    return ESCROW_OK;
}

void round_free(struct round *round)
{
    for (size_t i = 0; i < round->facts.replica_count; i++)
        probers_forget(round->config.probers, round->states[i].id);
    probers_forget(round->config.probers, round->session.id);
    free(round);
}

struct policy_facts *round_facts(struct round *round)
{
    round->facts.elapsed_ms = clock_boot_ms() - round->started_ms;
    return &round->facts;
}

bool round_is_complete(const struct round *round)
{
    for (size_t i = 0; i < round->facts.replica_count; i++) {
        if (round->facts.replicas[i].status == POLICY_PENDING)
            return false;
    }
    return round->facts.session != POLICY_SESSION_PENDING;
}

void round_give_up(struct round *round)
{
    for (size_t i = 0; i < round->facts.replica_count; i++) {
        if (round->facts.replicas[i].status == POLICY_PENDING)
            round->facts.replicas[i].status = POLICY_SILENT;
    }
    if (round->facts.session == POLICY_SESSION_PENDING)
        round->facts.session = POLICY_SESSION_MISSING;
}

const struct target *round_target(const struct round *round)
{
    return &round->config.target;
}
