/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl.h"

#include "libescrow/log.h"
#include "libescrow/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define DEFAULT_CONFIG "/etc/escrowd/escrowctl.yaml"

/* In the order of a first installation. */
static const struct ctl_command *const commands[] = {
    &ctl_authority_init,
    &ctl_enroll,
    &ctl_roster_new,
    &ctl_roster_add_member,
    &ctl_roster_add_key,
    &ctl_roster_remove_member,
    &ctl_roster_remove_key,
    &ctl_roster_show,
    &ctl_authority_approve_host,
    &ctl_authority_approve_node,
    &ctl_publish,
    &ctl_deposit,
    &ctl_list,
    &ctl_status,
    &ctl_pending,
    &ctl_approve,
    &ctl_rebaseline,
    &ctl_policy_check,
    &ctl_policy_explain,
    &ctl_audit_show,
    &ctl_audit_explain,
    &ctl_sql_grants,
    &ctl_recover_tpm_auth, /* before the command whose name begins its own */
    &ctl_recover,
    NULL,
};

static void print_usage(FILE *stream)
{
    fputs("usage: escrowctl [--config FILE] [--output table|json] COMMAND ...\n\n", stream);
    for (const struct ctl_command *const *command = commands; *command; command++)
        fprintf(stream, "  %-24s %s\n", (*command)->name, (*command)->summary);
    fputs("\n"
          "  --config FILE    default " DEFAULT_CONFIG "; not needed for authority, enroll,\n"
          "                   roster, policy check, sql-grants, recover and audit --folder\n"
          "  --output FORMAT  table (default) or json\n"
          "  --help           of escrowctl, or after a command of that command\n"
          "  --version\n",
          stream);
}

/* The commands of two words that begin with this one; false if there is none. */
static bool print_family(FILE *stream, const char *word)
{
    bool has_any = false;

    for (const struct ctl_command *const *command = commands; *command; command++) {
        size_t len = strlen(word);

        if (strncmp((*command)->name, word, len) != 0 || (*command)->name[len] != ' ')
            continue;
        fprintf(stream, "%s  %-24s %s\n", has_any ? "" : "there are:\n", (*command)->name,
                (*command)->summary);
        has_any = true;
    }
    return has_any;
}

/* Of a one-word name its whole, of a two-word name both words. 0: it is not this command. */
static int words_of(const struct ctl_command *command, int argc, char **argv)
{
    const char *space = strchr(command->name, ' ');
    size_t first_len = space ? (size_t)(space - command->name) : strlen(command->name);

    if (argc < 1 || strlen(argv[0]) != first_len || strncmp(argv[0], command->name, first_len) != 0)
        return 0;
    if (!space)
        return 1;
    return argc > 1 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

static const struct ctl_command *find_command(int argc, char **argv, int *ret_words)
{
    for (const struct ctl_command *const *command = commands; *command; command++) {
        *ret_words = words_of(*command, argc, argv);
        if (*ret_words)
            return *command;
    }
    return NULL;
}

static enum escrow_err set_output(struct ctl *ctl, const char *word)
{
    if (strcmp(word, "json") == 0)
        ctl->output = CTL_OUTPUT_JSON;
    else if (strcmp(word, "table") == 0)
        ctl->output = CTL_OUTPUT_TABLE;
    else {
        log_error("--output is table or json, not '%s'", word);
        return ESCROW_ERR_USAGE;
    }
    return ESCROW_OK;
}

struct common {
    bool is_help, is_version;
};

/*
 * Takes the options that every command has out of the arguments, wherever they stand. --version
 * after a command is that command's: of a secret.
 */
static enum escrow_err take_common(struct ctl *ctl, struct common *common)
{
    int kept = 0;

    for (int i = 0; i < ctl->argc; i++) {
        const char *word = ctl->argv[i];
        bool is_config = strcmp(word, "--config") == 0;

        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
            (strcmp(word, "help") == 0 && kept == 0)) {
            common->is_help = true;
        } else if (strcmp(word, "--version") == 0 && kept == 0) {
            common->is_version = true;
        } else if (is_config || strcmp(word, "--output") == 0) {
            if (++i == ctl->argc) {
                log_error("%s needs a value", word);
                return ESCROW_ERR_USAGE;
            }
            if (is_config)
                ctl->config_path = ctl->argv[i];
            else if (set_output(ctl, ctl->argv[i]))
                return ESCROW_ERR_USAGE;
        } else {
            ctl->argv[kept++] = ctl->argv[i];
        }
    }
    ctl->argc = kept;
    return ESCROW_OK;
}

static const struct ctl_option *find_option(const struct ctl_option *options, size_t count,
                                            const char *word)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, options[i].name) == 0)
            return &options[i];
    }
    return NULL;
}

static enum escrow_err set_value(const struct ctl_option *option, const char *value)
{
    if (!value) {
        log_error("--%s needs a value", option->name);
        return ESCROW_ERR_USAGE;
    }
    if (option->list && option->list->count < CTL_LIST_MAX) {
        option->list->items[option->list->count++] = value;
        return ESCROW_OK;
    }
    if (option->list || *option->value) {
        log_error("--%s is given too often", option->name);
        return ESCROW_ERR_USAGE;
    }
    *option->value = value;
    return ESCROW_OK;
}

static bool is_missing(const struct ctl_option *option)
{
    if (!option->is_required)
        return false;
    return option->list ? option->list->count == 0 : option->value && !*option->value;
}

enum escrow_err ctl_parse(struct ctl *ctl, const struct ctl_option *options, size_t option_count,
                          int least, int most)
{
    int kept = 0;

    for (int i = 0; i < ctl->argc; i++) {
        const struct ctl_option *option = find_option(options, option_count, ctl->argv[i]);

        if (option && option->flag) {
            *option->flag = true;
        } else if (option) {
            /* argv ends with NULL. */
            if (set_value(option, ctl->argv[++i]))
                return ESCROW_ERR_USAGE;
        } else if (ctl->argv[i][0] == '-' && ctl->argv[i][1]) {
            log_error("%s does not know %s", ctl->command->name, ctl->argv[i]);
            return ESCROW_ERR_USAGE;
        } else {
            ctl->argv[kept++] = ctl->argv[i];
        }
    }
    ctl->argc = kept;
    for (size_t i = 0; i < option_count; i++) {
        if (is_missing(&options[i])) {
            log_error("%s needs --%s", ctl->command->name, options[i].name);
            return ESCROW_ERR_USAGE;
        }
    }
    if (kept < least || kept > most) {
        log_error("%s: %s", ctl->command->name,
                  kept < least ? "an argument is missing" : "one argument too many");
        return ESCROW_ERR_USAGE;
    }
    return ESCROW_OK;
}

enum escrow_err ctl_number(const char *name, const char *text, uint64_t min, uint64_t max,
                           uint64_t fallback, uint64_t *ret_number)
{
    unsigned long long number = fallback;
    char *end = NULL;

    if (text) {
        errno = 0;
        number = strtoull(text, &end, 10);
    }
    if (text && (text[0] < '0' || text[0] > '9' || *end || errno || number < min || number > max)) {
        /* What has no name on the command line is in capitals in its usage. */
        log_error("%s%s is a number from %llu to %llu, not '%s'",
                  name[0] >= 'A' && name[0] <= 'Z' ? "" : "--", name, (unsigned long long)min,
                  (unsigned long long)max, text);
        return ESCROW_ERR_USAGE;
    }
    *ret_number = number;
    return ESCROW_OK;
}

/* Passwords and private keys are in this process: no core, no ptrace by the same user. */
static enum escrow_err harden(void)
{
    const struct rlimit none = {0, 0};

    if (prctl(PR_SET_DUMPABLE, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0) {
        log_error("the process cannot be made undumpable: %s", strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    return secret_heap_init();
}

static enum escrow_err run(struct ctl *ctl)
{
    struct common common = {false, false};
    int words = 0;
    enum escrow_err err = take_common(ctl, &common);

    if (err)
        return err;
    ctl->command = find_command(ctl->argc, ctl->argv, &words);
    if (common.is_version) {
        puts("escrowctl " ESCROW_VERSION);
        return ESCROW_OK;
    }
    if (common.is_help && ctl->command) {
        printf("usage: escrowctl %s %s", ctl->command->name, ctl->command->help);
        return ESCROW_OK;
    }
    if (!ctl->command) {
        if (ctl->argc > 0)
            log_error("there is no command '%s%s%s'", ctl->argv[0], ctl->argc > 1 ? " " : "",
                      ctl->argc > 1 ? ctl->argv[1] : "");
        if (ctl->argc == 0 || !print_family(stderr, ctl->argv[0]))
            print_usage(common.is_help ? stdout : stderr);
        return common.is_help ? ESCROW_OK : ESCROW_ERR_USAGE;
    }
    ctl->argc -= words;
    ctl->argv += words;
    err = harden();
    if (!err)
        err = ctl->command->run(ctl);
    if (err == ESCROW_ERR_USAGE)
        fprintf(stderr, "usage: escrowctl %s %s", ctl->command->name, ctl->command->help);
    return err;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.config_path = DEFAULT_CONFIG, .argc = argc - 1, .argv = argv + 1};
    enum escrow_err err;

    log_init_plain("escrowctl", LOG_LEVEL_NOTICE);
    err = argc > 0 ? run(&ctl) : ESCROW_ERR_USAGE;
    /* A result that nobody could read is no success. */
    if (fflush(stdout) != 0 && !err) {
        log_error("the output cannot be written: %s", strerror(errno));
        err = ESCROW_ERR_SYSTEM;
    }
    return escrow_err_exit_code(err);
}
