/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_probers.h"

#include "escrowd/clock.h"
#include "escrowd/turns.h"
#include "libescrow/identity.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* So many does a prober have: the one it works on, and the one it finds when that is done. */
#define SENT_MAX 2

struct question {
    STAILQ_ENTRY(question) next; /* once it is sent; the watch's always */
    struct turn turn;            /* of others, until then */
    char asker[IDENTITY_MAX + 1];
    struct ipc_writer message;
    uint64_t id;
    enum ipc_probe_type type;
    uint32_t count; /* of IPC_PROBE_ASK_STATES */
    int64_t asked_ms;
    prober_answer_fn on_answer; /* NULL: forgotten */
    void *argument;
};
STAILQ_HEAD(question_queue, question);

struct prober {
    const char *instance;
    struct ipc_channel *channel; /* NULL: none now */
    int64_t lost_ms;             /* since when; CLOCK_BOOTTIME */
    struct question_queue sent;  /* oldest first */
    unsigned sent_count;
    struct question_queue watch; /* nothing waits here or there, unless SENT_MAX are sent */
    struct turns waiting;
    bool was_watch;       /* the last that was sent */
    uint64_t connections; /* channels so far */
    struct probers *probers;
};

struct probers {
    struct probers_config config;
    uint64_t last_id;
    size_t count;
    struct prober *items;
};

static struct prober *find_prober(const struct probers *probers, const char *instance)
{
    for (size_t i = 0; i < probers->count; i++) {
        if (strcmp(probers->items[i].instance, instance) == 0)
            return &probers->items[i];
    }
    return NULL;
}

static void question_free(struct question *question)
{
    ipc_writer_deinit(&question->message);
    free(question);
}

static bool is_watch(const struct question *question)
{
    return strcmp(question->asker, PROBERS_WATCH) == 0;
}

/* Out of its queue. */
static void take_out(struct prober *prober, struct question *question)
{
    if (question->asked_ms) {
        STAILQ_REMOVE(&prober->sent, question, question, next);
        prober->sent_count--;
    } else if (is_watch(question)) {
        STAILQ_REMOVE(&prober->watch, question, question, next);
    } else {
        turns_leave(&prober->waiting, &question->turn);
    }
}

/* Hands out an answer; the question is gone before anybody hears of it. */
static void answer_question(struct prober *prober, struct question *question,
                            const struct prober_answer *answer)
{
    prober_answer_fn on_answer = question->on_answer;
    void *argument = question->argument;

    take_out(prober, question);
    question_free(question);
    if (on_answer)
        on_answer(answer, argument);
}

static struct question *next_waiting(const struct prober *prober)
{
    const struct turn *turn = turns_next(&prober->waiting);
    struct question *watch = STAILQ_FIRST(&prober->watch);

    if (!turn || (watch && !prober->was_watch))
        return watch;
    return turn->owner;
}

/*
 * Tells everybody who waits for this prober that no answer comes. Its channel is gone, so nothing
 * is added meanwhile; whoever is told may forget other questions that are still in a queue.
 */
static void silence(struct prober *prober)
{
    const struct prober_answer none = {0};
    struct question *question;

    while ((question = STAILQ_FIRST(&prober->sent)) != NULL)
        answer_question(prober, question, &none);
    while ((question = next_waiting(prober)) != NULL)
        answer_question(prober, question, &none);
}

static void drop_channel(struct prober *prober)
{
    ipc_channel_free(prober->channel);
    prober->channel = NULL;
    prober->lost_ms = clock_boot_ms();
    silence(prober);
}

/* The question must be in no queue. */
static enum escrow_err send_question(struct prober *prober, struct question *question)
{
    enum escrow_err err =
        ipc_channel_send(prober->channel, question->type, question->id, &question->message);

    if (err)
        return err;
    question->asked_ms = clock_boot_ms();
    prober->was_watch = is_watch(question);
    STAILQ_INSERT_TAIL(&prober->sent, question, next);
    prober->sent_count++;
    return ESCROW_OK;
}

static void send_waiting(struct prober *prober)
{
    const struct prober_answer none = {0};
    struct question *question;

    while (prober->channel && prober->sent_count < SENT_MAX &&
           (question = next_waiting(prober)) != NULL) {
        if (!is_watch(question))
            turns_had(&prober->waiting, &question->turn);
        take_out(prober, question);
        if (send_question(prober, question) == ESCROW_OK)
            continue;
        if (question->on_answer)
            question->on_answer(&none, question->argument);
        question_free(question);
    }
}

static struct question *find_question(struct prober *prober, uint64_t id)
{
    struct question *question = STAILQ_FIRST(&prober->sent);

    while (question && question->id != id)
        question = STAILQ_NEXT(question, next);
    return question;
}

/* Takes an answer to a question of this type; a prober that was not asked is malformed. */
static enum escrow_err deliver(struct prober *prober, uint64_t id, enum ipc_probe_type asked,
                               const struct prober_answer *answer)
{
    struct question *question = find_question(prober, id);

    if (!question || question->type != asked ||
        (answer->states && answer->states->count != question->count)) {
        log_warning("the prober of %s answers what it was not asked", prober->instance);
        return ESCROW_ERR_MALFORMED;
    }
    answer_question(prober, question, answer);
    send_waiting(prober);
    return ESCROW_OK;
}

static enum escrow_err on_state(struct ipc_channel *channel, const struct ipc_message *message,
                                void *argument)
{
    struct probe_state state;
    enum escrow_err err = ipc_get_probe_state(message, &state);

    (void)channel;
    if (err)
        return err;
    return deliver(argument, message->id, IPC_PROBE_ASK_STATE,
                   &(struct prober_answer){.state = &state});
}

static enum escrow_err on_session(struct ipc_channel *channel, const struct ipc_message *message,
                                  void *argument)
{
    struct ipc_probe_session session;
    enum escrow_err err = ipc_get_probe_session(message, &session);

    (void)channel;
    if (err)
        return err;
    return deliver(argument, message->id, IPC_PROBE_ASK_SESSION,
                   &(struct prober_answer){.session = &session});
}

static enum escrow_err on_opens(struct ipc_channel *channel, const struct ipc_message *message,
                                void *argument)
{
    struct ipc_probe_opens opens;
    enum escrow_err err = ipc_get_probe_opens(message, &opens);

    (void)channel;
    if (err)
        return err;
    return deliver(argument, message->id, IPC_PROBE_ASK_OPENS,
                   &(struct prober_answer){.opens = &opens});
}

static enum escrow_err on_members(struct ipc_channel *channel, const struct ipc_message *message,
                                  void *argument)
{
    struct probe_members members;
    enum escrow_err err = ipc_get_probe_members(message, &members);

    (void)channel;
    if (err)
        return err;
    return deliver(argument, message->id, IPC_PROBE_ASK_MEMBERS,
                   &(struct prober_answer){.members = &members});
}

static enum escrow_err on_echo(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    struct probe_echo echo;
    enum escrow_err err = ipc_get_probe_echo(message, &echo);

    (void)channel;
    if (err)
        return err;
    return deliver(argument, message->id, IPC_PROBE_ASK_ECHO,
                   &(struct prober_answer){.echo = &echo});
}

static enum escrow_err on_states(struct ipc_channel *channel, const struct ipc_message *message,
                                 void *argument)
{
    CLEANUP(cleanup_free) struct ipc_probe_states *states = NULL;
    enum escrow_err err = ipc_get_probe_states(message, &states);

    (void)channel;
    if (err)
        return err;
    return deliver(argument, message->id, IPC_PROBE_ASK_STATES,
                   &(struct prober_answer){.states = states});
}

static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct prober *prober = argument;

    (void)channel;
    log_warning("the prober of %s is gone (%s)", prober->instance, ipc_closed_text(why));
    drop_channel(prober);
    if (why != IPC_CLOSED_BY_PEER)
        prober->probers->config.on_overdue(prober->instance, prober->probers->config.argument);
}

static const struct ipc_permit permits[] = {
    {.type = IPC_PROBE_STATE, .states = IPC_ANY_STATE, .handler = on_state},
    {.type = IPC_PROBE_SESSION, .states = IPC_ANY_STATE, .handler = on_session},
    {.type = IPC_PROBE_OPENS, .states = IPC_ANY_STATE, .handler = on_opens},
    {.type = IPC_PROBE_MEMBERS, .states = IPC_ANY_STATE, .handler = on_members},
    {.type = IPC_PROBE_ECHO, .states = IPC_ANY_STATE, .handler = on_echo},
    {.type = IPC_PROBE_STATES, .states = IPC_ANY_STATE, .handler = on_states},
};

void probers_attach(struct probers *probers, const char *instance, int fd)
{
    struct prober *prober = find_prober(probers, instance);
    const struct ipc_channel_config config = {
        .base = probers->config.base,
        .name = prober ? prober->instance : instance,
        .permits = permits,
        .permit_count = ARRAY_LEN(permits),
        .state = 1,
        .on_close = on_close,
        .argument = prober,
    };

    if (!prober) {
        log_warning("a prober for %s, which the policy does not know", instance);
        cleanup_close(&fd);
        return;
    }
    drop_channel(prober);
    prober->connections++;
    if (ipc_channel_new(&config, fd, &prober->channel))
        log_error("no channel to the prober of %s", instance);
}

/* With one more there would be too much, for this asker or in all. */
static bool is_busy(const struct prober *prober, const char *asker)
{
    const struct question *question;
    const struct turn *turn;
    size_t all = 0, own = 0;

    STAILQ_FOREACH(question, &prober->sent, next)
    {
        all += !is_watch(question);
        own += strcmp(question->asker, asker) == 0;
    }
    TAILQ_FOREACH(turn, &prober->waiting.queue, next)
    {
        all++;
        own += strcmp(turn->whose, asker) == 0;
    }
    return strcmp(asker, PROBERS_WATCH) != 0 &&
           (all >= PROBERS_WAITING_MAX || own >= PROBERS_PER_ASKER);
}

static struct question *question_new(const struct prober_ask *ask, uint64_t id)
{
    struct question *question = calloc(1, sizeof(*question));

    if (!question)
        return NULL;
    question->id = id;
    question->type = ask->type;
    question->count = ask->question.count;
    question->on_answer = ask->on_answer;
    question->argument = ask->argument;
    memcpy(question->asker, ask->asker, strlen(ask->asker) + 1);
    ipc_put_probe_question(&question->message, ask->type, &ask->question);
    return question;
}

enum escrow_err probers_ask(struct probers *probers, const struct prober_ask *ask, uint64_t *ret_id)
{
    struct prober *prober = find_prober(probers, ask->instance);
    struct question *question;

    if (!prober || !prober->channel)
        return ESCROW_ERR_UNAVAILABLE;
    if (is_busy(prober, ask->asker))
        return ESCROW_ERR_DENIED;
    question = question_new(ask, ++probers->last_id);
    if (!question)
        return ESCROW_ERR_NO_MEMORY;
    *ret_id = question->id;
    if (prober->sent_count < SENT_MAX) {
        enum escrow_err err = send_question(prober, question);

        if (err)
            question_free(question);
        return err;
    }
    if (is_watch(question))
        STAILQ_INSERT_TAIL(&prober->watch, question, next);
    else
        turns_wait(&prober->waiting, &question->turn, question->asker, question);
    return ESCROW_OK;
}

static struct question *find_waiting(const struct prober *prober, uint64_t id)
{
    struct question *question;
    const struct turn *turn;

    STAILQ_FOREACH(question, &prober->watch, next)
    {
        if (question->id == id)
            return question;
    }
    TAILQ_FOREACH(turn, &prober->waiting.queue, next)
    {
        question = turn->owner;
        if (question->id == id)
            return question;
    }
    return NULL;
}

/* One that waits is gone; of one that was sent, the answer must still come. */
static void forget(struct prober *prober, uint64_t id)
{
    struct question *question = find_question(prober, id);

    if (question) {
        question->on_answer = NULL;
    } else if ((question = find_waiting(prober, id)) != NULL) {
        take_out(prober, question);
        question_free(question);
    }
}

void probers_forget(struct probers *probers, uint64_t id)
{
    for (size_t i = 0; i < probers->count; i++)
        forget(&probers->items[i], id);
}

void probers_check(struct probers *probers, int64_t overdue_ms)
{
    int64_t now_ms = clock_boot_ms();

    for (size_t i = 0; i < probers->count; i++) {
        struct prober *prober = &probers->items[i];
        const struct question *oldest = STAILQ_FIRST(&prober->sent);
        int64_t since_ms = now_ms;

        if (!prober->channel)
            since_ms = prober->lost_ms;
        else if (oldest)
            since_ms = oldest->asked_ms;
        if (now_ms - since_ms < overdue_ms)
            continue;
        log_warning("the prober of %s has %s for %lld ms", prober->instance,
                    prober->channel ? "not answered" : "had no channel to the keeper",
                    (long long)(now_ms - since_ms));
        drop_channel(prober);
        probers->config.on_overdue(prober->instance, probers->config.argument);
    }
}

bool probers_numbers(const struct probers *probers, size_t index,
                     struct prober_numbers *ret_numbers)
{
    const struct prober *prober;

    if (index >= probers->count)
        return false;
    prober = &probers->items[index];
    *ret_numbers = (struct prober_numbers){.instance = prober->instance,
                                           .is_connected = prober->channel != NULL,
                                           .connections = prober->connections};
    return true;
}

static void add_prober(struct probers *probers, const char *instance)
{
    struct prober *prober;

    if (find_prober(probers, instance))
        return;
    prober = &probers->items[probers->count];
    prober->instance = instance;
    prober->probers = probers;
    prober->lost_ms = clock_boot_ms();
    STAILQ_INIT(&prober->sent);
    STAILQ_INIT(&prober->watch);
    turns_init(&prober->waiting);
    probers->count++;
}

enum escrow_err probers_new(const struct probers_config *config, struct probers **ret_probers)
{
    CLEANUP(probers_free_p) struct probers *probers = calloc(1, sizeof(*probers));
    const struct policy_group *groups;
    size_t group_count = policy_groups(config->policy, &groups), most = 0;

    if (!probers)
        return ESCROW_ERR_NO_MEMORY;
    *probers = (struct probers){.config = *config};
    for (size_t i = 0; i < group_count; i++)
        most += groups[i].replica_count;
    /* Channels point at their prober: the array never moves. */
    probers->items = calloc(most ? most : 1, sizeof(*probers->items));
    if (!probers->items)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].replica_count; j++)
            add_prober(probers, groups[i].replicas[j].instance);
    }
    *ret_probers = TAKE(probers);
    return ESCROW_OK;
}

/* Who asked may be gone already. */
static void forget_all(struct prober *prober)
{
    struct question *question;

    while ((question = next_waiting(prober)) != NULL) {
        take_out(prober, question);
        question_free(question);
    }
    STAILQ_FOREACH(question, &prober->sent, next)
    question->on_answer = NULL;
}

void probers_free(struct probers *probers)
{
    for (size_t i = 0; i < probers->count; i++) {
        forget_all(&probers->items[i]);
        drop_channel(&probers->items[i]);
    }
    free(probers->items);
    free(probers);
}
