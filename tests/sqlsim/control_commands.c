/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/server_error.h"
#include "tests/sqlsim/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WAIT_MS 10000 /* of a `wait` without --timeout */
#define WAIT_MS_MAX 600000

json_t *control_error(const char *text)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

static json_t *done(const struct simulator *simulator)
{
    return json_pack("{s:b, s:I}", "ok", 1, "now_ms", (json_int_t)simulator->model.now_ms);
}

static json_t *no_such_instance(const char *name)
{
    CLEANUP(cleanup_free) char *text = memory_format("no such instance: %s", name);

    return control_error(text);
}

static json_t *command_failover(struct simulator *simulator, const struct control_words *words)
{
    bool is_forced = words->count == 3 && strcmp(words->words[1], "--force") == 0;
    const char *name = words->words[words->count - 1];
    size_t replica = model_find(&simulator->model, name);
    int32_t number;

    if (words->count == 3 && !is_forced)
        return control_error("usage: failover [--force] NODE");
    if (replica == MODEL_NONE)
        return no_such_instance(name);
    if (!simulator->model.replicas[replica].is_alive || simulator->model.replicas[replica].is_hung)
        return control_error("the instance does not answer");
    number = model_failover(&simulator->model, replica, is_forced);
    if (number) {
        CLEANUP(cleanup_free)
        char *message =
            server_error_text(server_error_find(number), simulator->model.group_name, NULL);
        CLEANUP(cleanup_free) char *text = memory_format("%d: %s", number, message);

        return control_error(text);
    }
    return done(simulator);
}

static json_t *command_kill(struct simulator *simulator, const struct control_words *words)
{
    bool is_automatic = words->count == 3 && strcmp(words->words[1], "--auto") == 0;
    const char *name = words->words[words->count - 1];
    size_t replica = model_find(&simulator->model, name);

    if (words->count == 3 && !is_automatic)
        return control_error("usage: kill [--auto] NODE");
    if (replica == MODEL_NONE)
        return no_such_instance(name);
    model_kill(&simulator->model, replica, is_automatic);
    instance_kill(&simulator->instances[replica]);
    return done(simulator);
}

static json_t *command_start(struct simulator *simulator, const struct control_words *words)
{
    size_t replica = model_find(&simulator->model, words->words[1]);

    if (replica == MODEL_NONE)
        return no_such_instance(words->words[1]);
    if (instance_start(&simulator->instances[replica]))
        return control_error("cannot listen");
    model_start(&simulator->model, replica);
    return done(simulator);
}

static json_t *command_hang(struct simulator *simulator, const struct control_words *words)
{
    size_t replica = model_find(&simulator->model, words->words[1]);

    if (replica == MODEL_NONE)
        return no_such_instance(words->words[1]);
    model_hang(&simulator->model, replica);
    instance_hang(&simulator->instances[replica]);
    return done(simulator);
}

static json_t *command_resume(struct simulator *simulator, const struct control_words *words)
{
    size_t replica = model_find(&simulator->model, words->words[1]);

    if (replica == MODEL_NONE)
        return no_such_instance(words->words[1]);
    model_resume(&simulator->model, replica);
    instance_resume(&simulator->instances[replica]);
    return done(simulator);
}

static json_t *command_state(struct simulator *simulator, const struct control_words *words)
{
    (void)words;
    return control_state(simulator);
}

static json_t *command_log(struct simulator *simulator, const struct control_words *words)
{
    size_t replica = model_find(&simulator->model, words->words[1]);
    const struct journal *journal;

    if (replica == MODEL_NONE)
        return no_such_instance(words->words[1]);
    journal = &simulator->instances[replica].journal;
    return json_pack("{s:b, s:I, s:o}", "ok", 1, "dropped", (json_int_t)journal->dropped,
                     "statements", journal_json(journal, false));
}

/* A lie's text: "" takes it back. */
static void set_lie(char **lie, const char *value)
{
    free(*lie);
    *lie = *value ? memory_copy(value) : NULL;
}

static bool set_role_lie(struct model_lies *lies, const char *value)
{
    static const char *const roles[] = {"RESOLVING", "PRIMARY", "SECONDARY"};

    if (!*value) {
        lies->role = MODEL_NONE;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (strcmp(roles[i], value) == 0) {
            lies->role = i;
            return true;
        }
    }
    return false;
}

static bool set_quorum(struct model_replica *replica, const char *value)
{
    static const char *const states[] = {"lost", "normal", "forced"};

    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(states[i], value) == 0) {
            replica->quorum = (enum model_quorum)i;
            return true;
        }
    }
    return false;
}

static bool set_encryption(struct instance *instance, const char *value)
{
    static const char *const modes[] = {"on", "require", "off", "not_sup"};

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (strcmp(modes[i], value) == 0) {
            instance->encryption = (enum tds_encryption_mode)i;
            return true;
        }
    }
    return false;
}

/* NODE.PROPERTY */
static json_t *set_property(struct simulator *simulator, const char *name, const char *value)
{
    const char *dot = strchr(name, '.');
    CLEANUP(cleanup_free) char *node = memory_copy_part(name, (size_t)(dot - name));
    size_t replica = model_find(&simulator->model, node);
    struct model_replica *instance;
    bool is_set = true;

    if (replica == MODEL_NONE)
        return no_such_instance(node);
    instance = &simulator->model.replicas[replica];
    if (strcmp(dot + 1, "role") == 0)
        is_set = set_role_lie(&instance->lies, value);
    else if (strcmp(dot + 1, "primary_replica") == 0)
        set_lie(&instance->lies.primary_replica, value);
    else if (strcmp(dot + 1, "sequence_number") == 0)
        set_lie(&instance->lies.sequence_number, value);
    else if (strcmp(dot + 1, "quorum") == 0)
        is_set = set_quorum(instance, value);
    else if (strcmp(dot + 1, "encryption") == 0)
        is_set = set_encryption(&simulator->instances[replica], value);
    else
        return control_error("no such property");
    return is_set ? done(simulator) : control_error("no such value");
}

static json_t *command_set(struct simulator *simulator, const struct control_words *words)
{
    if (strchr(words->words[1], '.'))
        return set_property(simulator, words->words[1], words->words[2]);
    switch (switches_set(&simulator->model.switches, words->words[1], words->words[2])) {
    case ESCROW_OK:
        return done(simulator);
    case ESCROW_ERR_NOT_FOUND:
        return control_error("no such switch");
    default:
        return control_error("no such value");
    }
}

static json_t *command_dmk(struct simulator *simulator, const struct control_words *words)
{
    struct master_key *key = &simulator->model.key;
    int32_t number = 0;

    if (strcmp(words->words[1], "add-password") == 0 && words->count == 3)
        number = master_key_add_password(key, words->words[2], 0);
    else if (strcmp(words->words[1], "drop-password") == 0 && words->count == 3)
        number = master_key_drop_password(key, words->words[2]);
    else if (strcmp(words->words[1], "drop-service-key") == 0 && words->count == 2)
        master_key_add_service_key(key, "");
    else if (strcmp(words->words[1], "drop-certificate") == 0 && words->count == 2)
        key->has_probe_certificate = false;
    else if (strcmp(words->words[1], "add-certificate") == 0 && words->count == 2)
        key->has_probe_certificate = true;
    else
        return control_error("usage: dmk add-password P | drop-password P | drop-service-key | "
                             "drop-certificate | add-certificate");
    if (number) {
        CLEANUP(cleanup_free) char *text = server_error_text(server_error_find(number), NULL, NULL);

        return control_error(text);
    }
    return done(simulator);
}

static json_t *command_quit(struct simulator *simulator, const struct control_words *words)
{
    (void)words;
    /* After the answer is out. */
    event_base_loopexit(simulator->base, &(struct timeval){.tv_usec = 1000});
    return done(simulator);
}

static bool opens(struct simulator *simulator, const struct control_condition *condition)
{
    return model_opens(&simulator->model, condition->replica);
}

static bool is_phase(const struct simulator *simulator, size_t replica, enum model_phase phase)
{
    const struct model_replica *instance = &simulator->model.replicas[replica];

    return instance->is_alive && !instance->is_hung && instance->phase == phase;
}

static bool is_primary(struct simulator *simulator, const struct control_condition *condition)
{
    return is_phase(simulator, condition->replica, MODEL_PRIMARY);
}

static bool is_secondary(struct simulator *simulator, const struct control_condition *condition)
{
    return is_phase(simulator, condition->replica, MODEL_SECONDARY);
}

static bool has_login(struct simulator *simulator, const struct control_condition *condition)
{
    const struct session *session =
        LIST_FIRST(&simulator->model.replicas[condition->replica].sessions);

    for (; session; session = LIST_NEXT(session, entry)) {
        if (strcasecmp(session->login->name, condition->text) == 0)
            return true;
    }
    return false;
}

static bool has_statement(struct simulator *simulator, const struct control_condition *condition)
{
    return journal_count(&simulator->instances[condition->replica].journal, condition->text) >=
           condition->count;
}

static bool has_troubles(struct simulator *simulator, const struct control_condition *condition)
{
    return simulator->instances[condition->replica].troubles.hits >= condition->count;
}

static bool has_connections(struct simulator *simulator, const struct control_condition *condition)
{
    return simulator->instances[condition->replica].connection_count >= condition->count;
}

static const struct {
    const char *name;
    bool (*is_true)(struct simulator *simulator, const struct control_condition *condition);
    bool has_text, has_count;
} conditions[] = {
    {"opens", opens, false, false},
    {"primary", is_primary, false, false},
    {"secondary", is_secondary, false, false},
    {"login", has_login, true, false},
    {"statement", has_statement, true, true},
    {"connections", has_connections, false, true},
    {"trouble", has_troubles, false, true},
};

static bool parse_count(const char *text, uint64_t *ret_count)
{
    char *end;

    errno = 0;
    *ret_count = strtoull(text, &end, 10);
    return !errno && end != text && !*end;
}

/* wait CONDITION NODE [TEXT] [COUNT] [--timeout MS] */
static json_t *command_wait(struct simulator *simulator, const struct control_words *words,
                            struct control_condition *ret_condition)
{
    struct control_condition condition = {.timeout_ms = WAIT_MS, .count = 1};
    const char *text = NULL;
    size_t count = words->count, next = 3;
    uint64_t timeout_ms = WAIT_MS;

    if (count >= 2 && strcmp(words->words[count - 2], "--timeout") == 0) {
        if (!parse_count(words->words[count - 1], &timeout_ms) || timeout_ms > WAIT_MS_MAX)
            return control_error("wrong timeout");
        count -= 2;
    }
    if (count < 3)
        return control_error("usage: wait CONDITION NODE [TEXT] [COUNT] [--timeout MS]");
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        if (strcmp(conditions[i].name, words->words[1]) != 0)
            continue;
        condition.is_true = conditions[i].is_true;
        if (conditions[i].has_text && next < count)
            text = words->words[next++];
        if (conditions[i].has_text && !text)
            return control_error("the condition needs a text");
        if (conditions[i].has_count && next < count &&
            !parse_count(words->words[next++], &condition.count))
            return control_error("wrong count");
    }
    condition.replica = model_find(&simulator->model, words->words[2]);
    if (!condition.is_true || next != count)
        return control_error("no such condition");
    if (condition.replica == MODEL_NONE)
        return no_such_instance(words->words[2]);
    condition.timeout_ms = (int64_t)timeout_ms;
    condition.text = text ? memory_copy(text) : NULL;
    if (condition.is_true(simulator, &condition)) {
        free(condition.text);
        return done(simulator);
    }
    *ret_condition = condition;
    return NULL;
}

static const struct {
    const char *name;
    size_t least, most; /* words, the command counted */
    json_t *(*run)(struct simulator *simulator, const struct control_words *words);
} commands[] = {
    {"failover", 2, 3, command_failover},
    {"kill", 2, 3, command_kill},
    {"start", 2, 2, command_start},
    {"hang", 2, 2, command_hang},
    {"resume", 2, 2, command_resume},
    {"state", 1, 1, command_state},
    {"log", 2, 2, command_log},
    {"set", 3, 3, command_set},
    {"dmk", 2, 3, command_dmk},
    {"quit", 1, 1, command_quit},
    {"trouble", 3, CONTROL_WORDS_MAX, control_trouble},
};

json_t *control_run(struct simulator *simulator, const struct control_words *words,
                    struct control_condition *ret_condition)
{
    if (strcmp(words->words[0], "wait") == 0)
        return command_wait(simulator, words, ret_condition);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, words->words[0]) != 0)
            continue;
        if (words->count < commands[i].least || words->count > commands[i].most)
            return control_error("wrong number of words");
        return commands[i].run(simulator, words);
    }
    return control_error("no such command");
}
