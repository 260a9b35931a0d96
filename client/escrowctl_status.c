/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status: what each escrowd says of itself. First what a person must do something about, then who
 * is primary, then what waits, and last what is only good to know.
 */
#include "client/escrowctl_peer.h"
#include "client/escrowctl_pending.h"
#include "libescrow/json.h"

#include <stdio.h>
#include <string.h>

#define REPLICAS_MAX 480 /* bytes with NUL: less than a cell of a table holds */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "-";
}

/* ---- what a person must look at ---- */

static void print_reasons(const json_t *status)
{
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(status, "reasons"), i, item)
    {
        const char *code = json_is_string(item) ? json_string_value(item) : "-";

        ctl_print_line(CTL_OUTPUT_TABLE, "  fails: %s: %s", code,
                       reason_text(reason_from_code(code)));
    }
    if (json_is_string(json_object_get(status, "trouble")))
        ctl_print_line(CTL_OUTPUT_TABLE, "  fails: %s", text_of(status, "trouble"));
    json_array_foreach(json_object_get(status, "warnings"), i, item)
    {
        const char *code = text_of(item, "reason");

        ctl_print_line(CTL_OUTPUT_TABLE, "  warns: %s: %s (%s)", code,
                       reason_text(reason_from_code(code)), text_of(item, "detail"));
    }
}

static void print_counts(const json_t *status)
{
    json_int_t unsettled = json_integer_value(json_object_get(status, "unsettled"));
    json_int_t unimported = json_integer_value(json_object_get(status, "unimported"));

    if (unsettled > 0)
        ctl_print_line(CTL_OUTPUT_TABLE,
                       "  warns: %" JSON_INTEGER_FORMAT " grants are not settled: no replica has "
                       "said that its master key opens since; escrowctl audit show has them",
                       unsettled);
    if (unimported > 0)
        ctl_print_line(CTL_OUTPUT_TABLE,
                       "  warns: %" JSON_INTEGER_FORMAT " versions cannot be let out by this "
                       "member's TPM yet",
                       unimported);
}

/* ---- groups ---- */

/* It answered once, and has not since. */
static bool is_silent(const json_t *replica)
{
    return json_is_null(json_object_get(replica, "role")) &&
           strcmp(text_of(replica, "outcome"), "answered") == 0;
}

/* "sql1 primary, sql2 secondary, sql3 login_refused". */
static void name_replicas(const json_t *replicas, char *ret_text)
{
    const json_t *replica;
    size_t i, used = 0;

    ret_text[0] = '\0';
    json_array_foreach(replicas, i, replica)
    {
        const char *role = json_string_value(json_object_get(replica, "role"));
        const char *outcome = json_string_value(json_object_get(replica, "outcome"));

        if (is_silent(replica))
            role = "silent";
        if (!role)
            role = outcome ? outcome : "not asked yet";
        if (used < REPLICAS_MAX)
            used += (size_t)snprintf(ret_text + used, REPLICAS_MAX - used, "%s%s %s",
                                     i > 0 ? ", " : "", text_of(replica, "instance"), role);
    }
}

static void print_groups(const json_t *groups)
{
    static const struct ctl_column columns[] = {
        {"GROUP", "group"}, {"DATABASE", "database"},     {"PRIMARY", "primary"},
        {"EPOCH", "epoch"}, {"MASTER KEY", "master_key"}, {"REPLICAS", "replicas"}};
    CLEANUP(json_free_p) json_t *rows = json_array();
    const json_t *group;
    size_t i;

    json_array_foreach(groups, i, group)
    {
        char replicas[REPLICAS_MAX];
        json_t *row = json_copy_whole(group);

        name_replicas(json_object_get(group, "replicas"), replicas);
        if (json_object_set_new(row, "replicas", json_string(replicas)) < 0 ||
            json_array_append_new(rows, row) < 0)
            return;
    }
    ctl_print_rows(CTL_OUTPUT_TABLE, rows, rows, columns, ARRAY_LEN(columns));
}

/* "SQLD, SQLE", or "none". */
static void name_servers(const json_t *names, char *ret_text)
{
    const json_t *name;
    size_t i, used = 0;

    snprintf(ret_text, REPLICAS_MAX, "none");
    json_array_foreach(names, i, name)
    {
        if (used < REPLICAS_MAX)
            used +=
                (size_t)snprintf(ret_text + used, REPLICAS_MAX - used, "%s%s", i > 0 ? ", " : "",
                                 json_is_string(name) ? json_string_value(name) : "-");
    }
}

/* What the table has no place for: why a replica does not answer, what differs, what to do. */
static void print_group_notes(const json_t *group)
{
    const json_t *membership = json_object_get(group, "membership");
    const char *name = text_of(group, "group"), *database = text_of(group, "database");
    const json_t *replica;
    size_t i;

    json_array_foreach(json_object_get(group, "replicas"), i, replica)
    {
        if (text_of(replica, "diagnosis")[0] && json_is_null(json_object_get(replica, "role")))
            ctl_print_line(CTL_OUTPUT_TABLE, "  %s: %s: %s", name, text_of(replica, "instance"),
                           text_of(replica, "diagnosis"));
        if (is_silent(replica))
            ctl_print_line(CTL_OUTPUT_TABLE, "  %s: %s: has not answered for %.1f s", name,
                           text_of(replica, "instance"),
                           json_number_value(json_object_get(replica, "ago_ms")) / 1000);
    }
    if (strcmp(text_of(group, "master_key"), "closed") == 0)
        ctl_print_line(
            CTL_OUTPUT_TABLE,
            "  %s/%s: the master key on %s has stopped opening by itself; what its agent "
            "gets: escrowctl policy explain --group %s --database %s",
            name, database, text_of(group, "primary"), name, database);
    if (json_is_object(membership)) {
        char added[REPLICAS_MAX], missing[REPLICAS_MAX];

        name_servers(json_object_get(membership, "added"), added);
        name_servers(json_object_get(membership, "missing"), missing);
        ctl_print_line(CTL_OUTPUT_TABLE,
                       "  %s: replicas in SQL Server that the policy lacks: %s; in the policy that "
                       "SQL Server lacks: %s",
                       name, added, missing);
    }
}

/* ---- the rest ---- */

/* The items of one member of "tls", as rows of one table. */
static bool add_served(json_t *rows, const json_t *items, const char *what, const char *name,
                       const char *until)
{
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        json_t *row = json_pack(
            "{s:s, s:O?, s:O?, s:O?}", "what", what, "name", json_object_get(item, name), "serial",
            json_object_get(item, "serial"), "until", json_object_get(item, until));

        if (json_array_append_new(rows, row) < 0)
            return false;
    }
    return true;
}

static void print_served(const json_t *tls)
{
    static const struct ctl_column columns[] = {
        {"SERVES WITH", "what"}, {"NAME", "name"}, {"SERIAL", "serial"}, {"UNTIL", "until"}};
    CLEANUP(json_free_p) json_t *rows = json_array();
    CLEANUP(json_free_p)
    json_t *own = json_pack("[O?]", json_object_get(tls, "certificate"));

    if (json_is_object(tls) && add_served(rows, own, "certificate", "identity", "not_after") &&
        add_served(rows, json_object_get(tls, "authorities"), "authority", "subject",
                   "not_after") &&
        add_served(rows, json_object_get(tls, "lists"), "list", "issuer", "next_update"))
        ctl_print_rows(CTL_OUTPUT_TABLE, tls, rows, columns, ARRAY_LEN(columns));
}

static void print_requests(const json_t *status, const struct rpc_server *escrowd)
{
    CLEANUP(json_free_p) json_t *rows = json_array();
    const json_t *request;
    size_t i;

    json_array_foreach(json_object_get(status, "requests"), i, request)
    {
        if (!ctl_add_pending(rows, escrowd, request))
            return;
    }
    if (json_array_size(rows) > 0)
        ctl_print_rows(CTL_OUTPUT_TABLE, rows, rows, ctl_pending_columns, CTL_PENDING_COLUMNS);
}

/* What an auditor or a witness notes elsewhere. */
static void print_log_end(const json_t *log)
{
    if (json_is_object(log))
        ctl_print_line(CTL_OUTPUT_TABLE,
                       "log ends with record %" JSON_INTEGER_FORMAT " of %s, SHA-256 %s",
                       json_integer_value(json_object_get(log, "sequence")), text_of(log, "time"),
                       text_of(log, "hash"));
}

/* What is shown elsewhere is left out. */
static void print_rest(const json_t *status)
{
    static const char *const shown[] = {"member",    "escrowd",    "ready",    "reasons", "trouble",
                                        "unsettled", "unimported", "warnings", "requests"};
    CLEANUP(json_free_p) json_t *rest = json_copy_whole(status);

    for (size_t i = 0; rest && i < ARRAY_LEN(shown); i++)
        json_object_del(rest, shown[i]);
    ctl_print_object(CTL_OUTPUT_TABLE, rest);
}

static void print_status(const json_t *status, const struct rpc_server *escrowd)
{
    const json_t *groups = json_object_get(status, "groups"), *group;
    size_t i;

    ctl_print_line(CTL_OUTPUT_TABLE, "escrowd %s (%s) %s", text_of(status, "escrowd"),
                   text_of(status, "member"),
                   json_is_true(json_object_get(status, "ready"))
                       ? "is ready"
                       : "is not ready and releases nothing:");
    print_reasons(status);
    print_counts(status);
    ctl_print_line(CTL_OUTPUT_TABLE, "%s", "");
    print_groups(groups);
    json_array_foreach(groups, i, group)
    {
        print_group_notes(group);
    }
    if (json_array_size(json_object_get(status, "requests")) > 0)
        ctl_print_line(CTL_OUTPUT_TABLE, "%s", "");
    print_requests(status, escrowd);
    ctl_print_line(CTL_OUTPUT_TABLE, "%s", "");
    print_served(json_object_get(status, "tls"));
    print_rest(status);
    print_log_end(json_object_get(status, "log"));
    ctl_print_line(CTL_OUTPUT_TABLE, "%s", "");
}

struct statuses {
    enum ctl_output output;
    json_t *all;
};

static enum escrow_err status_one(struct ctl_peer *peer, void *argument)
{
    const struct statuses *statuses = argument;
    CLEANUP(json_free_p) json_t *status = NULL;
    enum escrow_err err = ctl_peer_get(peer, "/v1/status", &status);

    if (err)
        return err;
    if (json_object_set_new(status, "escrowd", json_string(peer->escrowd->address)) < 0 ||
        json_array_append(statuses->all, status) < 0)
        return ESCROW_ERR_NO_MEMORY;
    if (statuses->output == CTL_OUTPUT_TABLE)
        print_status(status, peer->escrowd);
    return ESCROW_OK;
}

static enum escrow_err run_status(struct ctl *ctl)
{
    CLEANUP(ctl_access_deinit) struct ctl_access access = {0};
    CLEANUP(json_free_p) json_t *result = json_pack("{s:[]}", "escrowds");
    struct statuses statuses = {ctl->output, json_object_get(result, "escrowds")};
    enum escrow_err err = ctl_parse(ctl, NULL, 0, 0, 0);

    if (!err)
        err = ctl_access_init(&access, ctl, false);
    if (err)
        return err;
    err = ctl_each_peer(&access, NULL, status_one, &statuses);
    if (ctl->output == CTL_OUTPUT_JSON)
        ctl_print_object(ctl->output, result);
    return err;
}

const struct ctl_command ctl_status = {"status", run_status,
                                       "show whether every escrowd is ready, and what waits",
                                       "\n"
                                       "\n"
                                       "  escrowctl status\n"};
