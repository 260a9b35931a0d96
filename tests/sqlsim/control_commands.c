/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/server_error.h"

#include <stdlib.h>
#include <string.h>

json_t *control_error(const char *text)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

json_t *control_done(const struct simulator *simulator)
{
    return json_pack("{s:b, s:I}", "ok", 1, "now_ms", (json_int_t)simulator->model.now_ms);
}

json_t *control_no_instance(const char *name)
{
    CLEANUP(cleanup_free) char *text = memory_format("no such instance: %s", name);

    return control_error(text);
}

json_t *control_no_scope(void)
{
    return control_error("no such group or database");
}

static void remove_words(struct control_words *words, size_t first, size_t count)
{
    for (size_t i = first; i + count < words->count; i++)
        words->words[i] = words->words[i + count];
    words->count -= count;
}

const char *control_option(struct control_words *words, const char *name)
{
    for (size_t i = 1; i + 1 < words->count; i++) {
        const char *value = words->words[i + 1];

        if (strcmp(words->words[i], name) == 0) {
            remove_words(words, i, 2);
            return value;
        }
    }
    return NULL;
}

bool control_flag(struct control_words *words, const char *name)
{
    for (size_t i = 1; i < words->count; i++) {
        if (strcmp(words->words[i], name) == 0) {
            remove_words(words, i, 1);
            return true;
        }
    }
    return false;
}

/* The first database of that name, or without a name the first of the group. Or NULL. */
static struct model_database *find_database(struct model *model, const struct model_group *group,
                                            const char *name)
{
    for (size_t i = 0; i < model->database_count; i++) {
        struct model_database *database = &model->databases[i];

        if (name ? strcmp(database->name, name) == 0 : database->group == group)
            return database;
    }
    return NULL;
}

bool control_find_scope(struct simulator *simulator, struct control_words *words,
                        struct control_scope *ret_scope)
{
    struct model *model = &simulator->model;
    const char *group_name = control_option(words, "--group");
    const char *database_name = control_option(words, "--database");
    struct model_group *group =
        group_name ? model_find_group(model, group_name) : &model->groups[0];
    struct model_database *database;

    if (!group)
        return false;
    database = find_database(model, group, database_name);
    if (database_name && !database)
        return false;
    if (!group_name && database && database->group)
        group = database->group;
    *ret_scope = (struct control_scope){group, database};
    return true;
}

/* The error of a number with its name in place. */
static json_t *refused(int32_t number, const char *name)
{
    CLEANUP(cleanup_free)
    char *message = server_error_text(server_error_find(number), name, NULL);
    CLEANUP(cleanup_free) char *text = memory_format("%d: %s", number, message);

    return control_error(text);
}

/* Of a distributed group: NODE is the group whose primary becomes the global one. */
static json_t *fail_over_distributed(struct simulator *simulator,
                                     struct model_distributed *distributed, const char *name)
{
    const struct model_group *next = distributed->groups[!distributed->primary];

    if (strcmp(next->name, name) != 0 ||
        !model_failover_distributed(&simulator->model, distributed))
        return control_error("the group does not forward, or one has no primary");
    return control_done(simulator);
}

static json_t *command_failover(struct simulator *simulator, struct control_words *words)
{
    bool is_forced = control_flag(words, "--force");
    const char *distributed_name = control_option(words, "--distributed");
    struct model_distributed *distributed =
        distributed_name ? model_find_distributed(&simulator->model, distributed_name) : NULL;
    struct control_scope scope;
    size_t instance;
    int32_t number;

    if (!control_find_scope(simulator, words, &scope) || (distributed_name && !distributed))
        return control_no_scope();
    if (words->count != 2)
        return control_error("usage: failover [--group G] [--force] NODE | "
                             "failover --distributed D GROUP");
    if (distributed)
        return fail_over_distributed(simulator, distributed, words->words[1]);
    instance = model_find_instance(&simulator->model, words->words[1]);
    if (instance == MODEL_NONE || !scope.group->replicas[instance].is_member)
        return control_no_instance(words->words[1]);
    if (!model_answers(&simulator->model, instance))
        return control_error("the instance does not answer");
    number = model_failover(&simulator->model, scope.group, instance, is_forced);
    return number ? refused(number, scope.group->name) : control_done(simulator);
}

static json_t *command_kill(struct simulator *simulator, struct control_words *words)
{
    bool is_automatic = control_flag(words, "--auto");
    size_t instance;

    if (words->count != 2)
        return control_error("usage: kill [--auto] NODE");
    instance = model_find_instance(&simulator->model, words->words[1]);
    if (instance == MODEL_NONE)
        return control_no_instance(words->words[1]);
    model_kill(&simulator->model, instance, is_automatic);
    instance_kill(&simulator->instances[instance]);
    return control_done(simulator);
}

static json_t *command_start(struct simulator *simulator, struct control_words *words)
{
    size_t instance = model_find_instance(&simulator->model, words->words[1]);

    if (instance == MODEL_NONE)
        return control_no_instance(words->words[1]);
    if (instance_start(&simulator->instances[instance]))
        return control_error("cannot listen");
    model_start(&simulator->model, instance);
    return control_done(simulator);
}

static json_t *command_hang(struct simulator *simulator, struct control_words *words)
{
    size_t instance = model_find_instance(&simulator->model, words->words[1]);

    if (instance == MODEL_NONE)
        return control_no_instance(words->words[1]);
    model_hang(&simulator->model, instance);
    instance_hang(&simulator->instances[instance]);
    return control_done(simulator);
}

static json_t *command_resume(struct simulator *simulator, struct control_words *words)
{
    size_t instance = model_find_instance(&simulator->model, words->words[1]);

    if (instance == MODEL_NONE)
        return control_no_instance(words->words[1]);
    model_resume(&simulator->model, instance);
    instance_resume(&simulator->instances[instance]);
    return control_done(simulator);
}

static json_t *command_state(struct simulator *simulator, struct control_words *words)
{
    (void)words;
    return control_state(simulator);
}

static json_t *command_log(struct simulator *simulator, struct control_words *words)
{
    size_t instance = model_find_instance(&simulator->model, words->words[1]);
    const struct journal *journal;

    if (instance == MODEL_NONE)
        return control_no_instance(words->words[1]);
    journal = &simulator->instances[instance].journal;
    return json_pack("{s:b, s:I, s:o}", "ok", 1, "dropped", (json_int_t)journal->dropped,
                     "statements", journal_json(journal, false));
}

static json_t *command_dmk(struct simulator *simulator, struct control_words *words)
{
    struct control_scope scope;
    struct master_key *key;
    int32_t number = 0;

    if (!control_find_scope(simulator, words, &scope))
        return control_no_scope();
    key = scope.database
              ? &model_content(&simulator->model, scope.database, scope.database->owner)->key
              : NULL;
    if (key && words->count == 3 && strcmp(words->words[1], "add-password") == 0)
        number = master_key_add_password(key, words->words[2], 0);
    else if (key && words->count == 3 && strcmp(words->words[1], "drop-password") == 0)
        number = master_key_drop_password(key, words->words[2]);
    else if (key && words->count == 2 && strcmp(words->words[1], "drop-service-key") == 0)
        master_key_add_service_key(key, "");
    else if (key && words->count == 2 && strcmp(words->words[1], "drop-certificate") == 0)
        master_key_set_probe(key, false);
    else if (key && words->count == 2 && strcmp(words->words[1], "add-certificate") == 0)
        master_key_set_probe(key, true);
    else
        return control_error("usage: dmk [--database D] add-password P | drop-password P | "
                             "drop-service-key | drop-certificate | add-certificate");
    if (number)
        return refused(number, NULL);
    model_log(&simulator->model, scope.database, scope.database->owner);
    return control_done(simulator);
}

static json_t *command_quit(struct simulator *simulator, struct control_words *words)
{
    (void)words;
    /* After the answer is out. */
    event_base_loopexit(simulator->base, &(struct timeval){.tv_usec = 1000});
    return control_done(simulator);
}

static const struct {
    const char *name;
    size_t least, most; /* words, the command counted */
    json_t *(*run)(struct simulator *simulator, struct control_words *words); /* NULL: wait */
    const char *usage; /* what follows the name */
} commands[] = {
    {"failover", 2, 7, command_failover, "[--force] NODE | --distributed D GROUP"},
    {"kill", 2, 3, command_kill, "[--auto] NODE"},
    {"start", 2, 2, command_start, "NODE"},
    {"hang", 2, 2, command_hang, "NODE"},
    {"resume", 2, 2, command_resume, "NODE"},
    {"partition", 3, 4, control_partition, "[--auto] NODE NODE|cluster"},
    {"heal", 1, 3, control_heal, "[NODE NODE|cluster]"},
    {"replica", 3, 5, control_replica, "add|remove NODE"},
    {"database", 2, 6, control_database, "add|remove"},
    {"trouble", 3, CONTROL_WORDS_MAX, control_trouble,
     "NODE KIND [ARGUMENT...] [--at STAGE] [--login NAME] [--statement TEXT] [--from ADDRESS]"
     " [--after N] [--count K] | NODE off"},
    {"set", 3, 7, control_set, "SWITCH VALUE | NODE.PROPERTY VALUE"},
    {"dmk", 2, 7, command_dmk,
     "add-password P | drop-password P | drop-service-key | add-certificate | drop-certificate"},
    {"service-account", 3, 3, control_instance, "NODE lost|restored"},
    {"backup", 1, 3, control_backup, ""},
    {"restore-database", 1, 3, control_backup, ""},
    {"lock", 2, 3, control_login, "LOGIN [NODE]"},
    {"expire", 2, 3, control_login, "LOGIN [NODE]"},
    {"must-change", 2, 3, control_login, "LOGIN [NODE]"},
    {"unlock", 2, 3, control_login, "LOGIN [NODE]"},
    {"single-user", 3, 3, control_instance, "NODE on|off"},
    {"upgrade", 3, 3, control_instance, "NODE on|off"},
    {"version", 3, 3, control_instance, "NODE VERSION"},
    {"platform", 3, 3, control_instance, "NODE windows|linux"},
    {"ssis", 3, 7, control_ssis,
     "operation TYPE STATUS [alive] | replica NAME STATE | schema-build VERSION"},
    {"wait", 3, CONTROL_WORDS_MAX, NULL,
     "opens|primary|secondary|resolving NODE | login NODE LOGIN | statement NODE TEXT [COUNT]"
     " | connections|trouble NODE COUNT [--timeout MS]"},
    {"state", 1, 1, command_state, ""},
    {"log", 2, 2, command_log, "NODE"},
    {"quit", 1, 1, command_quit, ""},
};

void control_print_usage(FILE *out)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %s%s%s\n", commands[i].name, *commands[i].usage ? " " : "",
                commands[i].usage);
}

static json_t *wrong_words(size_t index)
{
    CLEANUP(cleanup_free)
    char *text = memory_format("usage: %s %s", commands[index].name, commands[index].usage);

    return control_error(text);
}

json_t *control_run(struct simulator *simulator, struct control_words *words,
                    struct control_condition *ret_condition)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, words->words[0]) != 0)
            continue;
        if (words->count < commands[i].least || words->count > commands[i].most)
            return wrong_words(i);
        return commands[i].run ? commands[i].run(simulator, words)
                               : control_wait(simulator, words, ret_condition);
    }
    return control_error("no such command; sqlsim --help lists them");
}
