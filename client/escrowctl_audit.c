/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit show: the log of one escrowd, asked for over the network or read from a copy of its folder.
 * Every line is checked against the one before it before it is printed.
 */
#include "client/escrowctl_audit.h"

#include "client/escrowctl_peer.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PAGE_RECORDS 1000

static bool is_enough(const struct ctl_audit *audit)
{
    return audit->most && audit->read == audit->most;
}

static enum escrow_err hand_out(const struct audit_line *line, struct ctl_audit *audit)
{
    audit->read++;
    return audit->on_line(line, audit->argument);
}

/* A reading of a folder ends with what this returns; it is no fault then. */
#define ENOUGH ESCROW_ERR_TIMEOUT

static enum escrow_err hand_out_of_folder(const struct audit_line *line, void *argument)
{
    struct ctl_audit *audit = argument;
    enum escrow_err err = hand_out(line, audit);

    return !err && is_enough(audit) ? ENOUGH : err;
}

/* What is torn is the writer's that died or still writes: it is not part of the log. */
static enum escrow_err read_folder(struct ctl_audit *audit)
{
    struct audit_reading reading = {0};
    enum escrow_err err =
        audit_read(audit->folder, audit->from, hand_out_of_folder, audit, &reading);

    audit->end = reading.end;
    if (is_enough(audit))
        return err == ENOUGH ? ESCROW_OK : err;
    if (reading.torn_bytes)
        log_warning("%s/%s: its last %" PRIu64 " bytes are no record: the writing did not end",
                    audit->folder, reading.segment, reading.torn_bytes);
    return err;
}

static enum escrow_err read_line(struct ctl_audit *audit, const char *text, size_t len)
{
    CLEANUP(audit_record_deinit) struct audit_record record = {0};
    const struct audit_line line = {&record, text, len, &audit->end};
    enum audit_fault fault;

    if (audit->from > 1 && audit->end.sequence + 1 == audit->from &&
        audit_chain_anchor(&audit->end, text, len))
        return ESCROW_ERR_NO_MEMORY;
    fault = audit_chain_next(&audit->end, text, len, &record);
    if (!fault)
        return hand_out(&line, audit);
    log_error("audit: the record after %" PRIu64 " is wrong (%s)", audit->end.sequence,
              audit_fault_word(fault));
    return ESCROW_ERR_MALFORMED;
}

static enum escrow_err read_page(struct ctl_audit *audit, const char *text, size_t len)
{
    enum escrow_err err = ESCROW_OK;

    while (!err && len > 0 && !is_enough(audit)) {
        const char *newline = memchr(text, '\n', len);
        size_t line_len = newline ? (size_t)(newline - text) + 1 : len;

        err = read_line(audit, text, line_len);
        text += line_len;
        len -= line_len;
    }
    return err;
}

static enum escrow_err read_remote(const struct ctl *ctl, struct ctl_audit *audit)
{
    CLEANUP(ctl_access_deinit) struct ctl_access access = {0};
    CLEANUP(ctl_peer_deinit) struct ctl_peer peer = {0};
    size_t index, len = 1;
    enum escrow_err err = ctl_access_init(&access, ctl, false);

    if (!err)
        err = ctl_find_escrowd(&access, audit->escrowd, &index);
    if (!err)
        err = ctl_peer_init(&peer, &access, index);
    audit->end.sequence = audit->from - 1;
    while (!err && len > 0 && !is_enough(audit)) {
        CLEANUP(cleanup_free) char *body = NULL;
        char path[96];

        snprintf(path, sizeof(path), "/v1/audit?from=%" PRIu64 "&limit=%d", audit->end.sequence + 1,
                 audit->most ? (int)audit->most : PAGE_RECORDS);
        err = rpc_session_get(&peer.session, path, &body, &len);
        err = err ? ctl_peer_fail(&peer, err) : read_page(audit, body, len);
    }
    return err;
}

enum escrow_err ctl_audit_read(struct ctl *ctl, struct ctl_audit *audit)
{
    if (audit->folder && audit->escrowd) {
        log_error("--folder and --escrowd exclude each other");
        return ESCROW_ERR_USAGE;
    }
    return audit->folder ? read_folder(audit) : read_remote(ctl, audit);
}

static const struct ctl_column columns[] = {
    {"SEQUENCE", "sequence"}, {"TIME", "time"},       {"EVENT", "event"}, {"GROUP", "group"},
    {"DATABASE", "database"}, {"REPLICA", "replica"}, {"EPOCH", "epoch"}, {"DECISION", "decision"},
    {"REASON", "reason"},     {"ABOUT", "about"},     {"ACTOR", "actor"},
};
static const int widths[ARRAY_LEN(columns)] = {8, 24, 8, 8, 8, 8, 5, 14, 20, 16, 0};

struct view {
    enum ctl_output output;
    bool has_titles;
};

#define ABOUT_MAX 160

/* Adds one thing to the text, after a comma. */
__attribute__((format(printf, 2, 3))) static void add_about(char text[static ABOUT_MAX],
                                                            const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;

    if (used > 0 && used + 3 < ABOUT_MAX) {
        memcpy(text + used, ", ", 3);
        used += 2;
    }
    va_start(arguments, format);
    vsnprintf(text + used, ABOUT_MAX - used, format, arguments);
    va_end(arguments);
}

/* What the other columns have no place for: what came of it, how often, and of which record. */
static void write_about(const json_t *record, char ret_text[static ABOUT_MAX])
{
    const json_t *detail = json_object_get(record, "detail");
    const char *outcome = json_string_value(json_object_get(detail, "outcome"));
    json_int_t grant = json_integer_value(json_object_get(record, "grant"));
    json_int_t count = json_integer_value(json_object_get(detail, "count"));
    json_int_t request = json_integer_value(json_object_get(detail, "request"));
    json_int_t like = json_integer_value(json_object_get(detail, "record"));

    ret_text[0] = '\0';
    if (outcome)
        add_about(ret_text, "%.32s", outcome);
    if (grant > 0)
        add_about(ret_text, "grant %" JSON_INTEGER_FORMAT, grant);
    if (count > 0)
        add_about(ret_text, "%" JSON_INTEGER_FORMAT " times", count);
    if (request > 0)
        add_about(ret_text, "request %" JSON_INTEGER_FORMAT, request);
    if (like > 0)
        add_about(ret_text, "like record %" JSON_INTEGER_FORMAT, like);
}

/* The record with what it is about. */
static enum escrow_err print_record(const json_t *record)
{
    CLEANUP(json_free_p) json_t *row = json_copy((json_t *)(uintptr_t)record);
    char about[ABOUT_MAX];

    write_about(record, about);
    if (json_object_set_new(row, "about", about[0] ? json_string(about) : json_null()) < 0)
        return ESCROW_ERR_NO_MEMORY;
    ctl_print_row(row, columns, widths, ARRAY_LEN(columns));
    return ESCROW_OK;
}

static enum escrow_err show_line(const struct audit_line *line, void *argument)
{
    struct view *view = argument;

    if (view->output == CTL_OUTPUT_JSON) {
        fwrite(line->text, 1, line->len, stdout);
        return ESCROW_OK;
    }
    if (!view->has_titles)
        ctl_print_titles(columns, widths, ARRAY_LEN(columns));
    view->has_titles = true;
    return print_record(line->record->document);
}

/* What an auditor writes down: a later reading must have this record, with this hash. */
static void print_end(enum ctl_output output, const struct ctl_audit *audit)
{
    char hash[2 * AUDIT_HASH_BYTES + 1];

    if (audit->end.sequence < audit->from) {
        ctl_print_line(output, "no records from %" PRIu64 " on", audit->from);
        return;
    }
    hex_encode(audit->end.hash, AUDIT_HASH_BYTES, hash);
    ctl_print_line(output, "%s", "");
    ctl_print_line(output,
                   "records %" PRIu64 " to %" PRIu64 ": each follows the one before it; SHA-256 of "
                   "the last: %s",
                   audit->from, audit->end.sequence, hash);
    if (audit->from > 1)
        ctl_print_line(output, "what came before was not looked at");
}

static enum escrow_err run(struct ctl *ctl)
{
    struct view view = {.output = ctl->output};
    struct ctl_audit audit = {.on_line = show_line, .argument = &view};
    const char *from = NULL;
    const struct ctl_option options[] = {{.name = "folder", .value = &audit.folder},
                                         {.name = "from", .value = &from},
                                         {.name = "escrowd", .value = &audit.escrowd}};
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (!err)
        err = ctl_number("from", from, 1, INT64_MAX, 1, &audit.from);
    if (!err)
        err = ctl_audit_read(ctl, &audit);
    if (!err)
        print_end(ctl->output, &audit);
    return err;
}

const struct ctl_command ctl_audit_show = {
    "audit show", run, "read an audit log and check its chain",
    "[--folder FOLDER | --escrowd ADDRESS] [--from SEQUENCE]\n"
    "\n"
    "Prints the records of an escrowd's log, oldest first: asked for over the network, which "
    "takes\n"
    "the role admin or auditor, or read from FOLDER, a copy of its audit_folder. With --output\n"
    "json the lines as they are. Each is checked against the one before it; where the chain\n"
    "breaks it says so and ends with exit code 4.\n"
    "\n"
    "  escrowctl audit show --from 1200\n"
    "  escrowctl audit show --folder /mnt/backup/audit --output json | jq .reason\n"};
