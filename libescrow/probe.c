/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/probe.h"

#include "libescrow/cleanup.h"
#include "libescrow/log.h"
#include "libescrow/probe_hold.h"
#include "libescrow/probe_row.h"
#include "libescrow/sql_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS_MAX 10
#define CLUSTER_TYPE_WSFC 0

struct probe {
    struct probe_config config; /* its texts are those below */
    char *texts[TEXTS_MAX];
    size_t text_count;
    char *state_text, *local_text, *use_text, *master_text;
    struct sql_connection *own;         /* where no other is given */
    struct sql_connection **connection; /* in master between two questions; NULL: to be made */
    struct sql_connection *own_reading; /* the same with read intent */
    struct sql_connection **reading;
};

/* What became of one question. */
struct answer {
    enum probe_outcome outcome;
    int32_t sql_error;
    char diagnosis[PROBE_TEXT_MAX];
};

/* What a DBA does about an error number, where its text does not say. */
static const struct {
    int32_t number;
    const char *hint;
} hints[] = {
    {18456, "wrong password, or the login does not exist or is disabled on this replica; the "
            "server's error log tells which"},
    {18452,
     "the Kerberos ticket was not accepted: check the SPN, the account that SQL Server runs as, "
     "domain trust and the clocks"},
    {300, "run the script of escrowctl sql-grants on this replica"},
    {297, "run the script of escrowctl sql-grants on this replica"},
    {229, "run the script of escrowctl sql-grants on the primary"},
    {916, "the login has no user in the database, or its SID differs from that of the other "
          "replicas: create it with the SID that escrowctl sql-grants prints"},
};

static const char *hint_for(int32_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(hints); i++)
        if (hints[i].number == number)
            return hints[i].hint;
    return NULL;
}

/* As snprintf; what does not fit is cut at a character. */
__attribute__((format(printf, 2, 3))) static void write_text(char ret_text[static PROBE_TEXT_MAX],
                                                             const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(ret_text, PROBE_TEXT_MAX, format, arguments);
    va_end(arguments);
    sql_text_trim(ret_text);
}

static void describe(const struct probe *probe, const struct sql_error *error,
                     struct answer *ret_answer)
{
    const char *name = probe->config.instance.name, *hint = hint_for(error->number);

    ret_answer->sql_error = error->number;
    if (error->number == 0)
        write_text(ret_answer->diagnosis, "%s: %s", name, error->text);
    else
        write_text(ret_answer->diagnosis, "%s: SQL Server error %d: %s%s%s%s", name, error->number,
                   error->text, hint ? " (" : "", hint ? hint : "", hint ? ")" : "");
}

/* A connection failed without an error number: a handshake of our own tells why. */
static void diagnose(const struct probe *probe, struct answer *answer)
{
    const struct sql_instance *instance = &probe->config.instance;
    char text[PROBE_TEXT_MAX];
    enum sql_diagnosis diagnosis =
        sql_diagnose(instance, instance->login_timeout_s, text, sizeof(text));

    switch (diagnosis) {
    case SQL_DIAGNOSIS_OK:
        /* It works now, or the driver asks for more than our handshake: its own text stays. */
        answer->outcome = PROBE_UNREACHABLE;
        return;
    case SQL_DIAGNOSIS_REFUSED:
        answer->outcome = PROBE_REFUSED;
        break;
    case SQL_DIAGNOSIS_UNREACHABLE:
        answer->outcome = PROBE_UNREACHABLE;
        break;
    default:
        answer->outcome = PROBE_TLS_FAILED;
        break;
    }
    write_text(answer->diagnosis, "%s", text);
}

static void close_connection(struct probe *probe)
{
    sql_close(*probe->connection);
    *probe->connection = NULL;
}

static enum escrow_err make_connection(struct probe *probe, struct answer *answer)
{
    struct probe_hold *hold = probe->config.hold;
    struct sql_error error;
    enum escrow_err err;

    if (hold && probe_hold_is_on(hold)) {
        answer->outcome = PROBE_LOGIN_REFUSED;
        answer->sql_error = hold->sql_error;
        memcpy(answer->diagnosis, hold->diagnosis, sizeof(answer->diagnosis));
        return ESCROW_ERR_DENIED;
    }
    err = sql_connect(&probe->config.instance, probe->connection, &error);
    if (!err) {
        if (hold)
            probe_hold_end(hold);
        return ESCROW_OK;
    }
    describe(probe, &error, answer);
    switch (err) {
    case ESCROW_ERR_SQL:
        answer->outcome = PROBE_SQL_ERROR;
        break;
    case ESCROW_ERR_UNAVAILABLE:
        diagnose(probe, answer);
        break;
    case ESCROW_ERR_TIMEOUT:
    case ESCROW_ERR_NO_MEMORY:
        answer->outcome = PROBE_UNREACHABLE;
        break;
    default:
        /* Refused, or a password file that cannot be used: nothing that a quick retry mends. */
        answer->outcome = PROBE_LOGIN_REFUSED;
        if (hold)
            probe_hold_begin(hold, probe->config.instance.name, answer->sql_error,
                             answer->diagnosis);
        break;
    }
    return err;
}

/*
 * Sends one batch, over a new connection if there is none or the old one has broken. On anything
 * but ESCROW_OK the answer is complete.
 */
static enum escrow_err ask(struct probe *probe, const char *text, sql_row_fn on_row, void *argument,
                           struct answer *ret_answer)
{
    struct sql_error error = {0};
    bool is_old = *probe->connection;
    enum escrow_err err;

    *ret_answer = (struct answer){.outcome = PROBE_ANSWERED};
    for (;;) {
        err = *probe->connection ? ESCROW_OK : make_connection(probe, ret_answer);
        if (err)
            return err;
        err = sql_batch(*probe->connection, text, on_row, argument, &error);
        if (err == ESCROW_ERR_UNAVAILABLE || err == ESCROW_ERR_TIMEOUT)
            close_connection(probe);
        if (err != ESCROW_ERR_UNAVAILABLE || !is_old)
            break;
        is_old = false;
    }
    if (!err)
        return ESCROW_OK;
    describe(probe, &error, ret_answer);
    if (err == ESCROW_ERR_UNAVAILABLE)
        diagnose(probe, ret_answer);
    else if (err == ESCROW_ERR_SQL || err == ESCROW_ERR_MALFORMED)
        ret_answer->outcome = PROBE_SQL_ERROR;
    else
        ret_answer->outcome = PROBE_UNREACHABLE;
    return err;
}

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

/* A state that tells what failed, and nothing else. */
static struct probe_state failed_state(const struct answer *answer)
{
    struct probe_state state = probe_row_empty();

    state.outcome = answer->outcome;
    state.sql_error = answer->sql_error;
    memcpy(state.diagnosis, answer->diagnosis, sizeof(state.diagnosis));
    return state;
}

/* One question about the state. The state is complete, and false returned, if it failed. */
static bool ask_about(struct probe *probe, const char *text, row_read_fn read,
                      struct probe_state *state, size_t *ret_rows)
{
    struct reading reading = {.state = state, .read = read};
    struct answer answer;
    enum escrow_err err = ask(probe, text, on_row, &reading, &answer);

    if (!err && reading.is_wrong) {
        const struct sql_error error = {.text = "the answer does not have its form"};

        describe(probe, &error, &answer);
        answer.outcome = PROBE_SQL_ERROR;
        err = ESCROW_ERR_MALFORMED;
    }
    if (err) {
        *state = failed_state(&answer);
        return false;
    }
    *ret_rows = reading.rows;
    return true;
}

static void set_no_row(const struct probe *probe, struct probe_state *state)
{
    *state = probe_row_empty();
    state->outcome = PROBE_NO_ROW;
    write_text(
        state->diagnosis,
        "%s: no availability group %s here, or no right to see it (VIEW ANY DEFINITION, VIEW "
        "SERVER STATE): run the script of escrowctl sql-grants",
        probe->config.instance.name, probe->config.availability_group);
}

void probe_ask_state(struct probe *probe, struct probe_state *ret_state)
{
    CLEANUP(cleanup_free) char *quorum = tsql_quorum();
    struct probe_state state = probe_row_empty();
    size_t rows = 0;

    if (quorum && ask_about(probe, probe->state_text, probe_row_state, &state, &rows)) {
        if (rows == 0)
            set_no_row(probe, &state);
        else if (state.cluster_type != CLUSTER_TYPE_WSFC ||
                 ask_about(probe, quorum, probe_row_quorum, &state, &rows))
            state.outcome = PROBE_ANSWERED;
    }
    *ret_state = state;
}

void probe_ask_local(struct probe *probe, struct probe_state *ret_state)
{
    struct probe_state state = probe_row_empty();
    size_t rows = 0;

    if (ask_about(probe, probe->local_text, probe_row_local, &state, &rows)) {
        if (rows == 0)
            set_no_row(probe, &state);
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
    struct answer answer;
    bool is_found = false;

    *ret_found = false;
    if (!text)
        return PROBE_SQL_ERROR;
    if (ask(probe, text, on_found, &is_found, &answer) == ESCROW_OK)
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

enum probe_outcome probe_ask_echo(struct probe *probe, const uint8_t nonce[static TSQL_NONCE_BYTES],
                                  bool *ret_found, int32_t *ret_sql_error)
{
    CLEANUP(cleanup_free) char *text = tsql_find_echo(nonce, probe->config.database);
    struct probe reader = with_read_intent(probe);
    struct answer answer;
    bool is_found = false;

    *ret_found = false;
    *ret_sql_error = 0;
    if (!text)
        return PROBE_SQL_ERROR;
    if (ask(&reader, text, on_found, &is_found, &answer) == ESCROW_OK)
        *ret_found = is_found;
    *ret_sql_error = answer.sql_error;
    return answer.outcome;
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
    struct answer answer;

    memset(ret_members, 0, sizeof(*ret_members));
    ret_members->outcome = PROBE_ANSWERED;
    if (!text)
        ret_members->outcome = PROBE_SQL_ERROR;
    else if (ask(probe, text, on_member, ret_members, &answer))
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
    struct answer answer;
    enum escrow_err err = ask(probe, probe->use_text, NULL, NULL, &answer);

    *ret_sql_error = answer.sql_error;
    if (err)
        return PROBE_OPENS_UNKNOWN;
    /* Over the connection as it is: a new one would be in master. */
    opens = probe_opens_over(*probe->connection, ret_sql_error);
    /* A role change ends the sessions inside the database: stay in master. */
    if (opens == PROBE_OPENS_UNKNOWN ||
        sql_batch(*probe->connection, probe->master_text, NULL, NULL, &(struct sql_error){0}))
        close_connection(probe);
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
