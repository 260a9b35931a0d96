/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/sqlcmd.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/session.h"
#include "tests/sqlsim/statements.h"

#include <openssl/crypto.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SET_MAX 8

struct run {
    const struct sqlcmd *sqlcmd;
    struct session *session;
    struct sqlcmd_variable set[SET_MAX]; /* by :setvar; texts owned */
    size_t set_count;
    char *batch; /* what was read of the next one */
    size_t batch_len;
    FILE *stream; /* into batch */
    bool ends_at_error;
    char *error;
};

static void run_deinit(struct run *run)
{
    if (run->stream)
        fclose(run->stream);
    if (run->batch)
        OPENSSL_cleanse(run->batch, run->batch_len);
    free(run->batch);
    for (size_t i = 0; i < run->set_count; i++) {
        free((char *)(uintptr_t)run->set[i].name);
        free((char *)(uintptr_t)run->set[i].value);
    }
    if (run->session)
        session_free(run->session);
}

static void begin_batch(struct run *run)
{
    run->stream = open_memstream(&run->batch, &run->batch_len);
    if (!run->stream)
        abort();
}

/* The first error of an answer becomes the script's. */
static void note_errors(struct run *run, const struct reply *reply)
{
    for (size_t i = 0; i < reply->message_count && !run->error; i++) {
        const struct reply_message *message = &reply->messages[i];

        if (message->level > 10)
            run->error = memory_format("Msg %d, Level %d, State %d: %s", (int)message->number,
                                       message->level, message->state, message->text);
    }
}

/* Comments alone are no batch. */
static bool is_empty(const char *batch)
{
    struct lexer_token token = lexer_next(&batch);

    return token.kind == LEXER_END;
}

static void end_batch(struct run *run)
{
    struct reply reply = {0};

    fclose(run->stream);
    run->stream = NULL;
    if (!is_empty(run->batch)) {
        (void)statements_run(run->session, run->batch, &reply);
        note_errors(run, &reply);
    }
    reply_deinit(&reply);
    OPENSSL_cleanse(run->batch, run->batch_len);
    free(run->batch);
    run->batch = NULL;
    begin_batch(run);
}

static const char *find_variable(const struct run *run, const char *name, size_t len)
{
    const struct sqlcmd *sqlcmd = run->sqlcmd;

    for (size_t i = 0; i < run->set_count; i++) {
        if (strncasecmp(run->set[i].name, name, len) == 0 && !run->set[i].name[len])
            return run->set[i].value;
    }
    for (size_t i = 0; i < sqlcmd->variable_count; i++) {
        if (strncasecmp(sqlcmd->variables[i].name, name, len) == 0 &&
            !sqlcmd->variables[i].name[len])
            return sqlcmd->variables[i].value;
    }
    return NULL;
}

/* A line into the batch, its variables filled in, in comments too. */
static void add_line(struct run *run, const char *line)
{
    const char *open, *close;

    while ((open = strstr(line, "$(")) != NULL && (close = strchr(open, ')')) != NULL) {
        const char *value = find_variable(run, open + 2, (size_t)(close - open - 2));

        if (!value) {
            run->error = memory_format("'%.*s' scripting variable not defined",
                                       (int)(close - open - 2), open + 2);
            return;
        }
        fwrite(line, 1, (size_t)(open - line), run->stream);
        fputs(value, run->stream);
        line = close + 1;
    }
    fprintf(run->stream, "%s\n", line);
}

static void run_command(struct run *run, const char *line)
{
    char name[64], value[64];

    if (strcasecmp(line, ":on error exit") == 0) {
        run->ends_at_error = true;
    } else if (sscanf(line, ":setvar %63s %63s", name, value) == 2 && run->set_count < SET_MAX) {
        run->set[run->set_count++] =
            (struct sqlcmd_variable){memory_copy(name), memory_copy(value)};
    } else {
        run->error = memory_format("sqlcmd: not known here: %s", line);
    }
}

static void run_line(struct run *run, char *line)
{
    size_t len = strlen(line);

    while (len && isspace((unsigned char)line[len - 1]))
        line[--len] = '\0';
    if (*line == ':')
        run_command(run, line);
    else if (strcasecmp(line, "GO") == 0)
        end_batch(run);
    else
        add_line(run, line);
}

static void run_lines(struct run *run)
{
    const char *at = run->sqlcmd->script;

    while (*at && !(run->error && run->ends_at_error)) {
        size_t len = strcspn(at, "\n");
        CLEANUP(cleanup_free) char *line = memory_copy_part(at, len);

        run_line(run, line);
        at += len + (at[len] == '\n');
    }
    if (!run->error || !run->ends_at_error)
        end_batch(run);
}

char *sqlcmd_run(struct model *model, size_t instance, const struct sqlcmd *sqlcmd)
{
    const struct login *login = logins_find(&model->instances[instance].logins, sqlcmd->login);
    const struct session_login wanted = {
        .name = sqlcmd->login, .password = login ? login->password : NULL, .database = ""};
    CLEANUP(run_deinit) struct run run = {.sqlcmd = sqlcmd};
    struct reply reply = {0};

    run.session = session_new(model, instance, &wanted, &reply);
    note_errors(&run, &reply);
    reply_deinit(&reply);
    if (run.session) {
        begin_batch(&run);
        run_lines(&run);
    }
    return run.error;
}
