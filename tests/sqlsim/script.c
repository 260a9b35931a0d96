/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/script.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/memory.h"
#include "tests/sqlsim/scalar.h"
#include "tests/sqlsim/select.h"
#include "tests/sqlsim/statements.h"

#include <stdlib.h>
#include <strings.h>

#define RAISED_NUMBER 50000 /* RAISERROR of a text */
#define DEPTH_MAX 8         /* of sp_executesql and EXEC in each other */

struct script {
    struct session *session;
    struct reply *reply;
    const char *at;
    bool is_over;  /* RETURN */
    bool is_wrong; /* something was not understood */
    unsigned depth;
};

static bool run_text(struct script *outer, const char *text);
static void run_statement(struct script *script, bool is_run);

static bool take(const char **at, const char *word)
{
    const char *next = *at;
    struct lexer_token token = lexer_next(&next);

    if (!lexer_is(&token, word))
        return false;
    *at = next;
    return true;
}

static bool is_end(const char *at)
{
    struct lexer_token token = lexer_next(&at);

    return token.kind == LEXER_END;
}

static bool read_value(struct script *script, struct scalar *ret_value)
{
    struct scalar value = {0};

    if (!scalar_read(script->session, &script->at, script->reply, &value)) {
        script->is_wrong = true;
        return false;
    }
    *ret_value = value;
    return true;
}

/* Text between the parenthesis that was just opened and its other one. Owned by the caller. */
static char *take_parenthesis(struct script *script)
{
    const char *start = script->at, *end = start;
    size_t open = 1;

    while (open) {
        struct lexer_token token = lexer_next(&script->at);

        end = token.start;
        if (token.kind == LEXER_END) {
            script->is_wrong = true;
            break;
        }
        open += lexer_is(&token, "(");
        open -= lexer_is(&token, ")");
    }
    return memory_copy_part(start, (size_t)(end - start));
}

static bool exists(struct script *script)
{
    CLEANUP(reply_deinit) struct reply rows = {0};
    CLEANUP(cleanup_free) char *query = take_parenthesis(script);

    if (!script->is_wrong && !select_run(script->session, query, &rows))
        script->is_wrong = true;
    return rows.value_count > 0;
}

static bool is_number(const struct scalar *value)
{
    return value->type == REPLY_INT || value->type == REPLY_BIT;
}

static int compare(const struct scalar *one, const struct scalar *other)
{
    if (is_number(one) && is_number(other)) {
        long long a = strtoll(one->text, NULL, 10), b = strtoll(other->text, NULL, 10);

        return (a > b) - (a < b);
    }
    return strcasecmp(one->text, other->text);
}

/* =, <>, >=, <=, >, < and the value behind it. NULL is equal to nothing, and not less. */
static bool holds(struct script *script, const struct scalar *one)
{
    CLEANUP(scalar_deinit) struct scalar other = {0};
    bool takes_less = take(&script->at, "<");
    bool takes_more = take(&script->at, ">");
    bool takes_equal = take(&script->at, "=");
    int order;

    if (!takes_less && !takes_more && !takes_equal)
        script->is_wrong = true;
    if (!read_value(script, &other) || !one->text || !other.text)
        return false;
    order = compare(one, &other);
    return (takes_less && order < 0) || (takes_more && order > 0) || (takes_equal && order == 0);
}

static bool read_condition(struct script *script)
{
    CLEANUP(scalar_deinit) struct scalar value = {0};
    bool is_no;

    if (take(&script->at, "NOT"))
        return !read_condition(script);
    if (take(&script->at, "EXISTS"))
        return take(&script->at, "(") && exists(script);
    if (!read_value(script, &value))
        return false;
    if (!take(&script->at, "IS"))
        return holds(script, &value);
    is_no = take(&script->at, "NOT");
    if (!take(&script->at, "NULL"))
        script->is_wrong = true;
    return is_no ? value.text != NULL : value.text == NULL;
}

static void run_if(struct script *script, bool is_run)
{
    bool is_true = read_condition(script);

    if (!script->is_wrong)
        run_statement(script, is_run && is_true);
    if (!script->is_wrong && take(&script->at, "ELSE"))
        run_statement(script, is_run && !is_true);
}

static void run_block(struct script *script, bool is_run)
{
    while (!script->is_wrong && !take(&script->at, "END")) {
        if (is_end(script->at))
            script->is_wrong = true;
        else
            run_statement(script, is_run && !script->is_over);
    }
}

static void run_print(struct script *script, bool is_run)
{
    CLEANUP(scalar_deinit) struct scalar value = {0};

    if (read_value(script, &value) && is_run)
        reply_text(script->reply, 0, 0, 1, value.text ? value.text : " ");
}

static void run_raiserror(struct script *script, bool is_run)
{
    CLEANUP(scalar_deinit) struct scalar text = {0};
    CLEANUP(scalar_deinit) struct scalar level = {0};
    CLEANUP(scalar_deinit) struct scalar state = {0};

    if (!take(&script->at, "(") || !read_value(script, &text) || !take(&script->at, ",") ||
        !read_value(script, &level) || !take(&script->at, ",") || !read_value(script, &state) ||
        !take(&script->at, ")"))
        script->is_wrong = true;
    else if (is_run && text.text && level.text && state.text)
        reply_text(script->reply, RAISED_NUMBER, (uint8_t)strtoul(level.text, NULL, 10),
                   (uint8_t)strtoul(state.text, NULL, 10), text.text);
}

/* EXEC (text). */
static void run_dynamic(struct script *script, bool is_run)
{
    CLEANUP(scalar_deinit) struct scalar text = {0};
    bool is_read = take(&script->at, "(") && read_value(script, &text) && take(&script->at, ")");

    if (!is_read || (is_run && text.text && !run_text(script, text.text)))
        script->is_wrong = true;
}

/* [database].sys.sp_executesql text: inside of that database, whatever the session is in. */
static void run_inside(struct script *script, const struct lexer_parameters *parameters)
{
    struct session *session = script->session;
    const char *name = parameters->values[0];
    bool is_master = model_is_name(name, "master");
    struct model_database *before = session->database;
    struct model_database *found = is_master ? NULL : session_find_database(session, name);

    if (!is_master && !found) {
        reply_message(script->reply, 911, name, NULL);
        return;
    }
    if (session_check_database(session, found, script->reply))
        return;
    session->database = found;
    if (!run_text(script, parameters->values[1]))
        script->is_wrong = true;
    session->database = before;
}

/* Everything up to the next ;. Owned by the caller. */
static char *take_simple(struct script *script)
{
    const char *start = script->at;

    for (;;) {
        const char *before = script->at;
        struct lexer_token token = lexer_next(&script->at);

        if (token.kind == LEXER_END || lexer_is(&token, ";")) {
            if (token.kind == LEXER_END)
                script->at = before;
            return memory_copy_part(start, (size_t)(before - start));
        }
    }
}

/* One result set to a batch, as the reply has it. */
static void merge(struct script *script, struct reply *part)
{
    struct reply *reply = script->reply;

    reply_move_messages(part, reply);
    if (part->new_database) {
        reply->new_database = part->new_database;
        reply->old_database = part->old_database;
    }
    if (!part->columns)
        return;
    if (reply->columns)
        script->is_wrong = true;
    else
        reply_move_rows(part, reply);
}

static void run_simple(struct script *script, bool is_run)
{
    CLEANUP(cleanup_free) char *text = take_simple(script);
    CLEANUP(reply_deinit) struct reply part = {0};
    struct lexer_parameters parameters = {0};

    if (!is_run)
        return;
    if (lexer_match("EXEC $name.sys.sp_executesql $text", text, &parameters)) {
        run_inside(script, &parameters);
        lexer_parameters_deinit(&parameters);
    } else if (statements_run_one(script->session, text, &part)) {
        merge(script, &part);
    } else {
        CLEANUP(cleanup_free) char *word = lexer_first_word(text);

        reply_message(script->reply, 102, word, NULL);
        script->is_wrong = true;
    }
}

/* EXEC followed by (. */
static bool is_dynamic(const char *at)
{
    return (take(&at, "EXEC") || take(&at, "EXECUTE")) && take(&at, "(");
}

static bool begins_block(const char *at)
{
    return take(&at, "BEGIN") && !take(&at, "TRAN") && !take(&at, "TRANSACTION");
}

static void run_statement(struct script *script, bool is_run)
{
    if (take(&script->at, "IF"))
        run_if(script, is_run);
    else if (begins_block(script->at) && take(&script->at, "BEGIN"))
        run_block(script, is_run);
    else if (take(&script->at, "RETURN"))
        script->is_over |= is_run;
    else if (take(&script->at, "PRINT"))
        run_print(script, is_run);
    else if (take(&script->at, "RAISERROR"))
        run_raiserror(script, is_run);
    else if (is_dynamic(script->at) && (take(&script->at, "EXEC") || take(&script->at, "EXECUTE")))
        run_dynamic(script, is_run);
    else if (!is_end(script->at))
        run_simple(script, is_run);
    while (take(&script->at, ";"))
        ;
}

/* RETURN ends what it stands in, so not the text that this one is a part of. */
static bool run_text(struct script *outer, const char *text)
{
    struct script script = {
        .session = outer->session, .reply = outer->reply, .at = text, .depth = outer->depth + 1};

    if (script.depth > DEPTH_MAX)
        return false;
    while (!script.is_wrong && !script.is_over && !is_end(script.at))
        run_statement(&script, true);
    return !script.is_wrong;
}

bool script_run(struct session *session, const char *text, struct reply *reply)
{
    struct script outer = {.session = session, .reply = reply};
    bool is_known = run_text(&outer, text);

    if (!is_known && !reply_failed(reply)) {
        CLEANUP(cleanup_free) char *word = lexer_first_word(text);

        reply_message(reply, 102, word, NULL);
    }
    return is_known;
}

bool script_is(const char *text)
{
    static const char *const words[] = {"IF", "PRINT", "RAISERROR", "RETURN"};
    const char *at = text;

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (take(&at, words[i]))
            return true;
    }
    if (begins_block(text) || is_dynamic(text))
        return true;
    for (;;) {
        struct lexer_token token = lexer_next(&at);

        if (token.kind == LEXER_END)
            return false;
        if (lexer_is(&token, "sp_executesql"))
            return true;
        if (lexer_is(&token, ";"))
            return !is_end(at);
    }
}
