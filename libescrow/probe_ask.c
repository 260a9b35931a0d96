/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/probe_ask.h"

#include "libescrow/probe_hold.h"
#include "libescrow/probe_row.h"
#include "libescrow/sql_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
                     struct probe_answer *ret_answer)
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
static void diagnose(const struct probe *probe, struct probe_answer *answer)
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

void probe_close(struct probe *probe)
{
    sql_close(*probe->connection);
    *probe->connection = NULL;
}

static enum escrow_err make_connection(struct probe *probe, struct probe_answer *answer)
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

enum escrow_err probe_ask(struct probe *probe, const char *text, sql_row_fn on_row, void *argument,
                          struct probe_answer *ret_answer)
{
    struct sql_error error = {0};
    bool is_old = *probe->connection;
    enum escrow_err err;

    *ret_answer = (struct probe_answer){.outcome = PROBE_ANSWERED};
    for (;;) {
        err = *probe->connection ? ESCROW_OK : make_connection(probe, ret_answer);
        if (err)
            return err;
        err = sql_batch(*probe->connection, text, on_row, argument, &error);
        if (err == ESCROW_ERR_UNAVAILABLE || err == ESCROW_ERR_TIMEOUT)
            probe_close(probe);
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

struct probe_state probe_failed(const struct probe_answer *answer)
{
    struct probe_state state = probe_row_empty();

    state.outcome = answer->outcome;
    state.sql_error = answer->sql_error;
    memcpy(state.diagnosis, answer->diagnosis, sizeof(state.diagnosis));
    return state;
}

struct probe_state probe_wrong_form(const struct probe *probe)
{
    const struct sql_error error = {.text = "the answer does not have its form"};
    struct probe_answer answer = {.outcome = PROBE_SQL_ERROR};

    describe(probe, &error, &answer);
    return probe_failed(&answer);
}

struct probe_state probe_no_row(const struct probe *probe)
{
    struct probe_state state = probe_row_empty();

    state.outcome = PROBE_NO_ROW;
    write_text(
        state.diagnosis,
        "%s: no availability group %s here, or no right to see it (VIEW ANY DEFINITION, VIEW "
        "SERVER STATE): run the script of escrowctl sql-grants",
        probe->config.instance.name, probe->config.availability_group);
    return state;
}
