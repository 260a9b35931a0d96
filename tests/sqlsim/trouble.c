/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/trouble.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ARGUMENT_MAX INT32_MAX
#define AT(stage) (1U << (stage))

enum {
    HANDSHAKE_ANSWERS = AT(TROUBLE_PRELOGIN) | AT(TROUBLE_TLS) | AT(TROUBLE_LOGIN),
    ANSWERS = HANDSHAKE_ANSWERS | AT(TROUBLE_ANSWER) | AT(TROUBLE_ATTENTION),
    EVERYWHERE = ANSWERS | AT(TROUBLE_ACCEPT) | AT(TROUBLE_QUERY) | AT(TROUBLE_ANY),
    LOGIN_IS_KNOWN = AT(TROUBLE_LOGIN) | AT(TROUBLE_QUERY) | AT(TROUBLE_ANSWER) |
                     AT(TROUBLE_ATTENTION) | AT(TROUBLE_ANY),
    STATEMENT_IS_KNOWN = AT(TROUBLE_QUERY) | AT(TROUBLE_ANSWER),
    NOTHING_IS_ANSWERED = AT(TROUBLE_ACCEPT) | AT(TROUBLE_QUERY) | AT(TROUBLE_ANY),
};

/* clang-format off */
static const struct {
    const char *name;
    enum trouble_kind kind;
    size_t least, most; /* arguments */
    unsigned stages;
    enum trouble_stage stage; /* unless --at says another */
} kinds[] = {
    {"hang", TROUBLE_HANG, 0, 1, EVERYWHERE, TROUBLE_QUERY},
    {"close", TROUBLE_CLOSE, 0, 1, EVERYWHERE, TROUBLE_QUERY},
    {"reset", TROUBLE_RESET, 0, 1, EVERYWHERE, TROUBLE_QUERY},
    {"block", TROUBLE_BLOCK, 0, 0, AT(TROUBLE_QUERY), TROUBLE_QUERY},
    {"slow", TROUBLE_SLOW, 1, 1, ANSWERS, TROUBLE_ANSWER},
    {"drip", TROUBLE_DRIP, 2, 2, ANSWERS, TROUBLE_ANSWER},
    {"garbage", TROUBLE_GARBAGE, 1, 1, ANSWERS, TROUBLE_ANSWER},
    {"extra", TROUBLE_EXTRA, 1, 1, AT(TROUBLE_ANSWER), TROUBLE_ANSWER},
    {"error", TROUBLE_ERROR, 1, 3, AT(TROUBLE_LOGIN) | STATEMENT_IS_KNOWN, TROUBLE_QUERY},
    {"partition", TROUBLE_HANG, 0, 0, AT(TROUBLE_ANY), TROUBLE_ANY},
};
/* clang-format on */

static const char *const stage_names[] = {
    [TROUBLE_ACCEPT] = "accept",       [TROUBLE_PRELOGIN] = "prelogin", [TROUBLE_TLS] = "tls",
    [TROUBLE_LOGIN] = "login",         [TROUBLE_QUERY] = "query",       [TROUBLE_ANSWER] = "answer",
    [TROUBLE_ATTENTION] = "attention", [TROUBLE_ANY] = "any",
};

const char *trouble_kind_name(enum trouble_kind kind)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].kind == kind)
            return kinds[i].name;
    }
    return "none";
}

const char *trouble_stage_name(enum trouble_stage stage)
{
    return stage_names[stage];
}

static void rule_deinit(struct trouble *rule)
{
    free(rule->login);
    free(rule->statement);
    memset(rule, 0, sizeof(*rule));
}

void troubles_clear(struct troubles *troubles)
{
    while (troubles->count)
        rule_deinit(&troubles->rules[--troubles->count]);
}

void troubles_deinit(struct troubles *troubles)
{
    troubles_clear(troubles);
}

static bool parse_number(const char *text, int64_t *ret_number)
{
    char *end;
    int64_t number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < 0 || number > ARGUMENT_MAX)
        return false;
    *ret_number = number;
    return true;
}

static bool parse_stage(const char *text, enum trouble_stage *ret_stage)
{
    for (size_t i = 0; i < ARRAY_LEN(stage_names); i++) {
        if (strcmp(stage_names[i], text) == 0) {
            *ret_stage = (enum trouble_stage)i;
            return true;
        }
    }
    return false;
}

static void replace(char **text, const char *value)
{
    free(*text);
    *text = memory_copy(value);
}

/* One option with its value. */
static bool parse_option(struct trouble *rule, const char *option, const char *value)
{
    struct in_addr address;
    int64_t number = 0;

    if (strcmp(option, "--at") == 0)
        return parse_stage(value, &rule->stage);
    if (strcmp(option, "--login") == 0) {
        replace(&rule->login, value);
        return true;
    }
    if (strcmp(option, "--statement") == 0) {
        replace(&rule->statement, value);
        return true;
    }
    if (strcmp(option, "--from") == 0) {
        if (inet_pton(AF_INET, value, &address) != 1)
            return false;
        rule->from = address.s_addr;
        return true;
    }
    if (!parse_number(value, &number))
        return false;
    if (strcmp(option, "--after") == 0)
        rule->after = (uint64_t)number;
    else if (strcmp(option, "--count") == 0)
        rule->count = (uint64_t)number;
    else
        return false;
    return true;
}

/* What is wrong with a rule of this kind, or NULL. */
static const char *problem_of(const struct trouble *rule, size_t kind)
{
    unsigned at = AT(rule->stage);

    if (rule->argument_count < kinds[kind].least || rule->argument_count > kinds[kind].most)
        return "wrong number of arguments";
    if (!(kinds[kind].stages & at))
        return "this trouble cannot come at that stage";
    if (rule->login && !(LOGIN_IS_KNOWN & at))
        return "the login is not known at that stage";
    if (rule->statement && !(STATEMENT_IS_KNOWN & at))
        return "there is no statement at that stage";
    if (rule->kind != TROUBLE_ERROR && rule->argument_count && (NOTHING_IS_ANSWERED & at))
        return "nothing is answered at that stage";
    if (rule->kind == TROUBLE_DRIP && !rule->arguments[0])
        return "a drip has at least one byte";
    return NULL;
}

static const char *parse(struct trouble *rule, const char *const *words, size_t count)
{
    size_t kind = 0, at = 1;

    while (kind < ARRAY_LEN(kinds) && (!count || strcmp(kinds[kind].name, words[0]) != 0))
        kind++;
    if (kind == ARRAY_LEN(kinds))
        return "no such trouble";
    rule->kind = kinds[kind].kind;
    for (; at < count && words[at][0] != '-'; at++) {
        if (rule->argument_count == TROUBLE_ARGUMENTS_MAX ||
            !parse_number(words[at], &rule->arguments[rule->argument_count++]))
            return "arguments are at most three numbers";
    }
    rule->stage = kinds[kind].stage;
    /* BYTES are of an answer, so that `close 7` needs no --at. */
    if (rule->stage == TROUBLE_QUERY && rule->argument_count && rule->kind != TROUBLE_ERROR)
        rule->stage = TROUBLE_ANSWER;
    for (; at < count; at += 2) {
        if (at + 1 == count || !parse_option(rule, words[at], words[at + 1]))
            return "no such option or value";
    }
    return problem_of(rule, kind);
}

enum escrow_err troubles_add(struct troubles *troubles, const char *const *words, size_t count,
                             const char **ret_problem)
{
    struct trouble rule = {0};
    const char *problem = parse(&rule, words, count);

    if (!problem && troubles->count == TROUBLES_MAX)
        problem = "too many troubles";
    if (problem) {
        rule_deinit(&rule);
        *ret_problem = problem;
        return ESCROW_ERR_USAGE;
    }
    troubles->rules[troubles->count++] = rule;
    return ESCROW_OK;
}

static bool fits(const struct trouble *rule, const struct trouble_occasion *occasion)
{
    if (rule->stage != TROUBLE_ANY && rule->stage != occasion->stage)
        return false;
    if (rule->from && rule->from != occasion->from)
        return false;
    if (rule->login && (!occasion->login || strcasecmp(rule->login, occasion->login) != 0))
        return false;
    return !rule->statement ||
           (occasion->statement && strstr(occasion->statement, rule->statement));
}

const struct trouble *troubles_meet(struct troubles *troubles,
                                    const struct trouble_occasion *occasion)
{
    struct trouble *met = NULL;

    for (size_t i = 0; i < troubles->count; i++) {
        struct trouble *rule = &troubles->rules[i];

        if (!fits(rule, occasion))
            continue;
        rule->occasions++;
        if (!met && rule->occasions > rule->after && (!rule->count || rule->hits < rule->count))
            met = rule;
    }
    if (met) {
        met->hits++;
        troubles->hits++;
    }
    return met;
}
