/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/control.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WAIT_MS 30000 /* of a `wait` without --timeout */
#define WAIT_MS_MAX 600000

static bool opens(struct simulator *simulator, const struct control_condition *condition)
{
    return condition->scope.database &&
           model_opens(&simulator->model, condition->scope.database, condition->instance);
}

static bool is_phase(const struct simulator *simulator, const struct control_condition *condition,
                     enum model_phase phase)
{
    return model_answers(&simulator->model, condition->instance) &&
           condition->scope.group->replicas[condition->instance].is_member &&
           condition->scope.group->replicas[condition->instance].phase == phase;
}

static bool is_primary(struct simulator *simulator, const struct control_condition *condition)
{
    return is_phase(simulator, condition, MODEL_PRIMARY);
}

static bool is_secondary(struct simulator *simulator, const struct control_condition *condition)
{
    return is_phase(simulator, condition, MODEL_SECONDARY);
}

static bool is_resolving(struct simulator *simulator, const struct control_condition *condition)
{
    return is_phase(simulator, condition, MODEL_RESOLVING);
}

static bool has_login(struct simulator *simulator, const struct control_condition *condition)
{
    const struct session *session =
        LIST_FIRST(&simulator->model.instances[condition->instance].sessions);

    for (; session; session = LIST_NEXT(session, entry)) {
        if (strcasecmp(session->login_name, condition->text) == 0)
            return true;
    }
    return false;
}

static bool has_statement(struct simulator *simulator, const struct control_condition *condition)
{
    return journal_count(&simulator->instances[condition->instance].journal, condition->text) >=
           condition->count;
}

static bool has_troubles(struct simulator *simulator, const struct control_condition *condition)
{
    return simulator->instances[condition->instance].troubles.hits >= condition->count;
}

static bool has_connections(struct simulator *simulator, const struct control_condition *condition)
{
    return simulator->instances[condition->instance].connection_count >= condition->count;
}

static const struct {
    const char *name;
    bool (*is_true)(struct simulator *simulator, const struct control_condition *condition);
    bool has_text, has_count;
} conditions[] = {
    {"opens", opens, false, false},
    {"primary", is_primary, false, false},
    {"secondary", is_secondary, false, false},
    {"resolving", is_resolving, false, false},
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

static bool parse_timeout(const char *text, int64_t *ret_ms)
{
    uint64_t ms;

    if (!parse_count(text, &ms) || ms > WAIT_MS_MAX)
        return false;
    *ret_ms = (int64_t)ms;
    return true;
}

/* Text and count after CONDITION NODE. An error, or NULL and the text, which the caller owns. */
static json_t *parse_condition(const struct control_words *words,
                               struct control_condition *condition)
{
    size_t next = 3, i = 0;

    while (i < ARRAY_LEN(conditions) && strcmp(conditions[i].name, words->words[1]) != 0)
        i++;
    if (i == ARRAY_LEN(conditions))
        return control_error("no such condition");
    condition->is_true = conditions[i].is_true;
    if (conditions[i].has_text && next == words->count)
        return control_error("the condition needs a text");
    next += conditions[i].has_text;
    if (conditions[i].has_count && next < words->count &&
        !parse_count(words->words[next++], &condition->count))
        return control_error("wrong count");
    if (next != words->count)
        return control_error("too many words");
    condition->text = conditions[i].has_text ? memory_copy(words->words[3]) : NULL;
    return NULL;
}

json_t *control_wait(struct simulator *simulator, struct control_words *words,
                     struct control_condition *ret_condition)
{
    struct control_condition condition = {.timeout_ms = WAIT_MS, .count = 1};
    const char *timeout = control_option(words, "--timeout");
    json_t *error;

    if (!control_find_scope(simulator, words, &condition.scope))
        return control_no_scope();
    if (timeout && !parse_timeout(timeout, &condition.timeout_ms))
        return control_error("wrong timeout");
    condition.instance = model_find_instance(&simulator->model, words->words[2]);
    if (condition.instance == MODEL_NONE)
        return control_no_instance(words->words[2]);
    error = parse_condition(words, &condition);
    if (error)
        return error;
    if (condition.is_true(simulator, &condition)) {
        free(condition.text);
        return control_done(simulator);
    }
    *ret_condition = condition;
    return NULL;
}
