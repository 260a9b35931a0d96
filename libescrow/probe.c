/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "libescrow/log.h"
#include "libescrow/probe_ask.h"
#include "libescrow/probe_row.h"

#include <stdlib.h>
#include <string.h>

#define ERROR_NOT_READABLE 976 /* of a secondary: not now, or never */
#define READERS_NONE 0         /* secondary_role_allow_connections = NO */

typedef bool (*row_read_fn)(size_t columns, const char *const *values, struct probe_state *state);

/* The rows of a question that must have at most one. */
struct reading {
    struct probe_state *state;
    row_read_fn read;
    size_t rows;
    bool is_wrong;
};

static bool on_row(size_t columns, const char *const *values, void *argument)
{
    struct reading *reading = argument;

    reading->rows++;
    reading->is_wrong = reading->rows > 1 || !reading->read(columns, values, reading->state);
    return !reading->is_wrong;
}

/* One question about the state. The state is complete, and false returned, if it failed. */
static bool ask_about(struct probe *probe, const char *text, row_read_fn read,
                      struct probe_state *state, size_t *ret_rows)
{
    struct reading reading = {.state = state, .read = read};
    struct probe_answer answer;
    enum escrow_err err = probe_ask(probe, text, on_row, &reading, &answer);

    if (err)
        *state = probe_failed(&answer);
    else if (reading.is_wrong)
        *state = probe_wrong_form(probe);
    if (err || reading.is_wrong)
        return false;
    *ret_rows = reading.rows;
    return true;
}

void probe_ask_state(struct probe *probe, struct probe_state *ret_state)
{
    CLEANUP(cleanup_free) char *quorum = tsql_quorum();
    struct probe_state state = probe_row_empty();
    size_t rows = 0;

    if (quorum && ask_about(probe, probe->state_text, probe_row_state, &state, &rows)) {
        if (rows == 0)
            state = probe_no_row(probe);
        else if (state.cluster_type != PROBE_CLUSTER_WSFC ||
                 ask_about(probe, quorum, probe_row_quorum, &state, &rows))
            state.outcome = PROBE_ANSWERED;
    }
    *ret_state = state;
}

/* Rows of many targets, each with its index in front. */
struct states_reading {
    struct probe_state *states; /* PROBE_NO_ROW: none yet */
    size_t count;
    bool is_wrong; /* a row is nobody's */
};

static bool on_states_row(size_t columns, const char *const *values, void *argument)
{
    struct states_reading *reading = argument;
    struct probe_state *state;
    int32_t index = -1;

    reading->is_wrong = columns == 0 || !probe_row_int(values[0], &index) || index < 0 ||
                        (size_t)index >= reading->count;
    if (reading->is_wrong)
        return false;
    state = &reading->states[index];
    if (state->outcome != PROBE_NO_ROW || !probe_row_state(columns - 1, values + 1, state))
        state->outcome = PROBE_SQL_ERROR;
    else
        state->outcome = PROBE_ANSWERED;
    return true;
}

static char *states_text(struct probe *const *probes, size_t count)
{
    CLEANUP(cleanup_free) struct tsql_target *targets = calloc(count, sizeof(*targets));

    if (!targets)
        return NULL;
    for (size_t i = 0; i < count; i++)
        targets[i] =
            (struct tsql_target){probes[i]->config.availability_group, probes[i]->config.database};
    return tsql_states(targets, count);
}

/* The rows as they came, without the quorum; false: all are complete. */
static bool ask_rows(struct probe *const *probes, size_t count, struct probe_state *states)
{
    CLEANUP(cleanup_free) char *text = states_text(probes, count);
    struct states_reading reading = {.states = states, .count = count};
    struct probe_state failed = probe_row_empty();
    struct probe_answer answer;

    for (size_t i = 0; i < count; i++) {
        states[i] = probe_row_empty();
        states[i].outcome = PROBE_NO_ROW;
    }
    if (text && !probe_ask(probes[0], text, on_states_row, &reading, &answer) && !reading.is_wrong)
        return true;
    if (reading.is_wrong)
        failed = probe_wrong_form(probes[0]);
    else if (text)
        failed = probe_failed(&answer);
    for (size_t i = 0; i < count; i++)
        states[i] = failed;
    return false;
}

/* Of the instance, so one answer is everybody's. */
static void add_quorum(struct probe *probe, size_t count, struct probe_state *states)
{
    CLEANUP(cleanup_free) char *text = tsql_quorum();
    struct probe_state quorum = probe_row_empty();
    bool is_asked = false, is_known = false;
    size_t rows = 0;

    for (size_t i = 0; i < count; i++) {
        if (states[i].outcome != PROBE_ANSWERED || states[i].cluster_type != PROBE_CLUSTER_WSFC)
            continue;
        if (!is_asked)
            is_known = text && ask_about(probe, text, probe_row_quorum, &quorum, &rows);
        is_asked = true;
        if (is_known) {
            states[i].has_quorum_row = quorum.has_quorum_row;
            states[i].quorum_state = quorum.quorum_state;
        } else {
            states[i] = quorum;
        }
    }
}

void probe_ask_states(struct probe *const *probes, size_t count, struct probe_state *ret_states)
{
    if (!ask_rows(probes, count, ret_states))
        return;
    for (size_t i = 0; i < count; i++) {
        if (ret_states[i].outcome == PROBE_NO_ROW)
            ret_states[i] = probe_no_row(probes[i]);
        else if (ret_states[i].outcome == PROBE_SQL_ERROR)
            ret_states[i] = probe_wrong_form(probes[i]);
    }
    add_quorum(probes[0], count, ret_states);
}

void probe_ask_local(struct probe *probe, struct probe_state *ret_state)
{
    struct probe_state state = probe_row_empty();
    size_t rows = 0;

    if (ask_about(probe, probe->local_text, probe_row_local, &state, &rows)) {
        if (rows == 0)
            state = probe_no_row(probe);
        else
            state.outcome = PROBE_ANSWERED;
    }
    *ret_state = state;
}

/* A row is what is looked for. */
static bool on_found(size_t columns, const char *const *values, void *argument)
{
    bool *is_found = argument;

    *is_found = columns == 1 && values[0];
    return !*is_found;
}

enum probe_outcome probe_ask_session(struct probe *probe,
                                     const uint8_t nonce[static TSQL_NONCE_BYTES],
                                     const char *login, bool *ret_found)
{
    CLEANUP(cleanup_free) char *text = tsql_find_session(nonce, login);
    struct probe_answer answer;
    bool is_found = false;

    *ret_found = false;
    if (!text)
        return PROBE_SQL_ERROR;
    if (probe_ask(probe, text, on_found, &is_found, &answer) == ESCROW_OK)
        *ret_found = is_found;
    else
        log_warning("%s: the session of an agent that asks for a release cannot be looked for: "
                    "%s; it is refused as session_not_found, and asks again",
                    probe->config.instance.name, answer.diagnosis);
    return answer.outcome;
}

/* The same instance, for who says that he only reads; connections are the probe's. */
static struct probe with_read_intent(const struct probe *probe)
{
    struct probe reader = *probe;

    reader.connection = probe->reading;
    reader.config.instance.has_read_intent = true;
    return reader;
}

static bool on_readers(size_t columns, const char *const *values, void *argument)
{
    bool *is_closed = argument;
    int32_t allowed = -1;

    *is_closed = columns == 1 && probe_row_int(values[0], &allowed) && allowed == READERS_NONE;
    return !*is_closed;
}

/* Of a replica that cannot be read now: false also where it does not say. */
static bool is_closed_to_readers(struct probe *reader)
{
    CLEANUP(cleanup_free) char *text = tsql_readers(reader->config.availability_group);
    struct probe_answer answer;
    bool is_closed = false;

    return text && !probe_ask(reader, text, on_readers, &is_closed, &answer) && is_closed;
}

void probe_ask_echo(struct probe *probe, const uint8_t nonce[static TSQL_NONCE_BYTES],
                    struct probe_echo *ret_echo)
{
    CLEANUP(cleanup_free) char *text = tsql_find_echo(nonce, probe->config.database);
    struct probe reader = with_read_intent(probe);
    struct probe_echo echo = {.outcome = PROBE_SQL_ERROR};
    struct probe_answer answer;
    bool is_found = false;
    enum escrow_err err;

    if (text) {
        err = probe_ask(&reader, text, on_found, &is_found, &answer);
        echo = (struct probe_echo){.outcome = answer.outcome,
                                   .is_found = !err && is_found,
                                   .is_late = err == ESCROW_ERR_TIMEOUT,
                                   .sql_error = answer.sql_error,
                                   .is_closed = answer.sql_error == ERROR_NOT_READABLE &&
                                                is_closed_to_readers(&reader)};
    }
    *ret_echo = echo;
}

static bool on_member(size_t columns, const char *const *values, void *argument)
{
    struct probe_members *members = argument;

    if (columns != 1 || !values[0] || !values[0][0] || strlen(values[0]) >= PROBE_NAME_MAX ||
        members->count == PROBE_MEMBERS_MAX) {
        members->outcome = PROBE_SQL_ERROR;
        return false;
    }
    memcpy(members->names[members->count], values[0], strlen(values[0]) + 1);
    members->count++;
    return true;
}

void probe_ask_members(struct probe *probe, struct probe_members *ret_members)
{
    CLEANUP(cleanup_free) char *text = tsql_members(probe->config.availability_group);
    struct probe_answer answer;

    memset(ret_members, 0, sizeof(*ret_members));
    ret_members->outcome = PROBE_ANSWERED;
    if (!text)
        ret_members->outcome = PROBE_SQL_ERROR;
    else if (probe_ask(probe, text, on_member, ret_members, &answer))
        ret_members->outcome = answer.outcome;
    else if (ret_members->outcome == PROBE_ANSWERED && ret_members->count == 0)
        ret_members->outcome = PROBE_NO_ROW;
}

static bool on_number(size_t columns, const char *const *values, void *argument)
{
    return columns == 1 && probe_row_int(values[0], argument);
}

/* A number from the database, -1 for NULL or none; sql_error as the server gave it. */
static enum escrow_err ask_number(struct sql_connection *connection, char *text,
                                  int32_t *ret_number, int32_t *ret_sql_error)
{
    CLEANUP(cleanup_free) char *owned = text;
    struct sql_error error = {0};
    enum escrow_err err = ESCROW_ERR_NO_MEMORY;

    *ret_number = -1;
    *ret_sql_error = 0;
    if (owned)
        err = sql_batch(connection, owned, on_number, ret_number, &error);
    *ret_sql_error = error.number;
    return err;
}

/* Any result but a signature means "does not open", once it is sure that the certificate is there.
 */
enum probe_opens probe_opens_over(struct sql_connection *connection, int32_t *ret_sql_error)
{
    int32_t bytes = 0, has_certificate = 0, error = 0;
    enum escrow_err err = ask_number(connection, tsql_opens(), &bytes, ret_sql_error);

    if (!err && bytes > 0)
        return PROBE_OPENS_YES;
    if (err && err != ESCROW_ERR_SQL)
        return PROBE_OPENS_UNKNOWN;
    err = ask_number(connection, tsql_probe_certificate(), &has_certificate, &error);
    if (err) {
        /* An error that broke the connection has told why already. */
        if (error != 0)
            *ret_sql_error = error;
        return PROBE_OPENS_UNKNOWN;
    }
    return has_certificate == 1 ? PROBE_OPENS_NO : PROBE_OPENS_NO_CERTIFICATE;
}

enum probe_opens probe_ask_opens(struct probe *probe, int32_t *ret_sql_error)
{
    enum probe_opens opens;
    struct probe_answer answer;
    enum escrow_err err = probe_ask(probe, probe->use_text, NULL, NULL, &answer);

    *ret_sql_error = answer.sql_error;
    if (err)
        return PROBE_OPENS_UNKNOWN;
    /* Over the connection as it is: a new one would be in master. */
    opens = probe_opens_over(*probe->connection, ret_sql_error);
    /* A role change ends the sessions inside the database: stay in master. */
    if (opens == PROBE_OPENS_UNKNOWN ||
        sql_batch(*probe->connection, probe->master_text, NULL, NULL, &(struct sql_error){0}))
        probe_close(probe);
    return opens;
}

static bool own_text(struct probe *probe, const char **text)
{
    char *copy;

    if (!*text)
        return true;
    copy = strdup(*text);
    if (!copy)
        return false;
    probe->texts[probe->text_count++] = copy;
    *text = copy;
    return true;
}

enum escrow_err probe_new(const struct probe_config *config, struct probe **ret_probe)
{
    CLEANUP(probe_free_p) struct probe *probe = calloc(1, sizeof(*probe));
    struct sql_instance *instance;

    if (!probe)
        return ESCROW_ERR_NO_MEMORY;
    probe->config = *config;
    probe->connection = config->connection ? config->connection : &probe->own;
    probe->reading = config->reading ? config->reading : &probe->own_reading;
    instance = &probe->config.instance;
    if (!own_text(probe, &instance->name) || !own_text(probe, &instance->address) ||
        !own_text(probe, &instance->tls_name) || !own_text(probe, &instance->ca_file) ||
        !own_text(probe, &instance->login) || !own_text(probe, &instance->password_file) ||
        !own_text(probe, &instance->keytab) || !own_text(probe, &instance->krb5_conf) ||
        !own_text(probe, &probe->config.availability_group) ||
        !own_text(probe, &probe->config.database))
        return ESCROW_ERR_NO_MEMORY;
    probe->state_text = tsql_state(config->availability_group, config->database);
    probe->local_text = tsql_local(config->availability_group, config->database);
    probe->use_text = tsql_use(config->database);
    probe->master_text = tsql_use("master");
    if (!probe->state_text || !probe->local_text || !probe->use_text || !probe->master_text)
        return ESCROW_ERR_NO_MEMORY;
    *ret_probe = TAKE(probe);
    return ESCROW_OK;
}

void probe_free(struct probe *probe)
{
    if (!probe)
        return;
    sql_close(probe->own);
    sql_close(probe->own_reading);
    free(probe->state_text);
    free(probe->local_text);
    free(probe->use_text);
    free(probe->master_text);
    for (size_t i = 0; i < probe->text_count; i++)
        free(probe->texts[i]);
    free(probe);
}
