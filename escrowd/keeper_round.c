/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_round.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_echo.h"
#include "libescrow/log.h"
#include "policy/evidence.h"

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
    struct echo *echoes[POLICY_REPLICAS_MAX]; /* NULL: not asked, or not any more */
};

static void stop_echoes(struct round *round)
{
    for (size_t i = 0; i < round->facts.replica_count; i++) {
        echo_free(round->echoes[i]);
        round->echoes[i] = NULL;
    }
}

static void give_up_echo(struct round *round, size_t replica)
{
    struct policy_replica_facts *known = &round->facts.replicas[replica];
    struct probe_echo failure;

    if (known->echo != POLICY_ECHO_PENDING)
        return;
    known->echo = POLICY_ECHO_MISSING;
    /* Another one has it. */
    if (!round->echoes[replica])
        return;
    failure = echo_last_failure(round->echoes[replica]);
    if (failure.outcome != PROBE_ANSWERED) {
        known->echo_failure.outcome = failure.outcome;
        known->echo_failure.sql_error = failure.sql_error;
    }
    log_info("%s has not read what %s committed (%s, SQL error %d)", known->instance,
             round->config.candidate, policy_outcome_word(failure.outcome), (int)failure.sql_error);
    echo_free(round->echoes[replica]);
    round->echoes[replica] = NULL;
}

/* Whoever is asked counts, so one is enough: the others need not be asked any more. */
static void on_echo(bool is_found, void *argument)
{
    const struct asked *asked = argument;
    struct round *round = asked->round;

    if (is_found) {
        stop_echoes(round);
        round->facts.replicas[asked->replica].echo = POLICY_ECHO_FOUND;
    } else {
        give_up_echo(round, asked->replica);
    }
    round->config.on_change(round, asked->replica, round->config.argument);
}

static bool is_for_echo(const struct round *round, size_t replica)
{
    const struct policy_group *group = round->config.target.group;
    const struct policy_replica_facts *known = &round->facts.replicas[replica];

    return round->config.candidate && group->wants_echo &&
           strcmp(known->instance, round->config.candidate) != 0 &&
           policy_echo_counts(&group->replicas[replica], known);
}

static void ask_echo(struct round *round, size_t replica)
{
    const struct round_config *config = &round->config;
    struct policy_replica_facts *known = &round->facts.replicas[replica];
    struct echo_config echo = {.probers = config->probers,
                               .base = config->base,
                               .ask = {.instance = known->instance, .asker = config->asker},
                               .on_end = on_echo,
                               .argument = &round->states[replica]};
    enum escrow_err err =
        target_number(config->policy, known->instance, &config->target, &echo.ask.question.target);

    memcpy(echo.ask.question.nonce, config->nonce, sizeof(echo.ask.question.nonce));
    if (!err)
        err = echo_new(&echo, &round->echoes[replica]);
    known->echo = err ? POLICY_ECHO_MISSING : POLICY_ECHO_PENDING;
}

static void on_state(const struct prober_answer *answer, void *argument)
{
    const struct asked *asked = argument;
    struct round *round = asked->round;
    struct policy_replica_facts *known = &round->facts.replicas[asked->replica];

    /* One that was given up counts, too, if it comes before the decision: it may be a rival's. */
    known->status = answer->state ? POLICY_ANSWERED : POLICY_SILENT;
    known->answered_ms = clock_boot_ms() - round->started_ms;
    if (answer->state)
        known->state = *answer->state;
    if (is_for_echo(round, asked->replica))
        ask_echo(round, asked->replica);
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

/* Whoever cannot be asked is silent; but for want of room for this asker there is no round. */
static enum escrow_err ask(struct round *round, enum ipc_probe_type type, const char *instance,
                           prober_answer_fn on_answer, struct asked *asked)
{
    const struct round_config *config = &round->config;
    struct prober_ask ask = {.instance = instance,
                             .asker = config->asker,
                             .type = type,
                             .question = {.login = config->login},
                             .on_answer = on_answer,
                             .argument = asked};
    enum escrow_err err =
        target_number(config->policy, instance, &config->target, &ask.question.target);

    if (config->nonce)
        memcpy(ask.question.nonce, config->nonce, sizeof(ask.question.nonce));
    return err ? err : probers_ask(config->probers, &ask, &asked->id);
}

static enum escrow_err ask_state(struct round *round, size_t replica)
{
    const char *instance = round->config.target.group->replicas[replica].instance;
    struct policy_replica_facts *known = &round->facts.replicas[replica];
    struct asked *asked = &round->states[replica];
    enum escrow_err err;

    memcpy(known->instance, instance, strlen(instance) + 1);
    known->status = POLICY_PENDING;
    *asked = (struct asked){.round = round, .replica = replica};
    err = ask(round, IPC_PROBE_ASK_STATE, instance, on_state, asked);
    if (err)
        known->status = POLICY_SILENT;
    return err == ESCROW_ERR_DENIED ? err : ESCROW_OK;
}

static enum escrow_err ask_session(struct round *round)
{
    enum escrow_err err;

    round->facts.session = POLICY_SESSION_PENDING;
    round->session = (struct asked){.round = round};
    err = ask(round, IPC_PROBE_ASK_SESSION, round->config.candidate, on_session, &round->session);
    if (err)
        round->facts.session = POLICY_SESSION_MISSING;
    return err == ESCROW_ERR_DENIED ? err : ESCROW_OK;
}

enum escrow_err round_new(const struct round_config *config, struct round **ret_round)
{
    CLEANUP(round_free_p) struct round *round = calloc(1, sizeof(*round));
    enum escrow_err err = ESCROW_OK;

    if (!round)
        return ESCROW_ERR_NO_MEMORY;
    round->config = *config;
    round->started_ms = clock_boot_ms();
    round->facts.session = POLICY_SESSION_MISSING;
    round->facts.replica_count = config->target.group->replica_count;
    for (size_t i = 0; !err && i < round->facts.replica_count; i++)
        err = ask_state(round, i);
    if (!err && config->candidate)
        err = ask_session(round);
    if (!err)
        *ret_round = TAKE(round);
    return err;
}

void round_free(struct round *round)
{
    if (!round)
        return;
    for (size_t i = 0; i < round->facts.replica_count; i++)
        probers_forget(round->config.probers, round->states[i].id);
    probers_forget(round->config.probers, round->session.id);
    stop_echoes(round);
    free(round);
}

struct policy_facts *round_facts(struct round *round)
{
    round->facts.elapsed_ms = clock_boot_ms() - round->started_ms;
    return &round->facts;
}

void round_give_up(struct round *round)
{
    for (size_t i = 0; i < round->facts.replica_count; i++) {
        if (round->facts.replicas[i].status == POLICY_PENDING)
            round->facts.replicas[i].status = POLICY_SILENT;
        give_up_echo(round, i);
    }
    if (round->facts.session == POLICY_SESSION_PENDING)
        round->facts.session = POLICY_SESSION_MISSING;
}
