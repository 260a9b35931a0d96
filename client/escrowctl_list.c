/* SPDX-License-Identifier: Apache-2.0 */
/* list and status: what each escrowd says of itself. */
#include "client/escrowctl_peer.h"
#include "libescrow/json.h"

/* One row a version, with what it is a version of. */
static bool add_versions(json_t *rows, const char *address, const json_t *secret)
{
    const json_t *versions = json_object_get(secret, "versions");
    json_t *version;
    size_t i;

    json_array_foreach(versions, i, version)
    {
        json_t *row = json_copy_whole(version);

        if (json_object_set_new(row, "escrowd", json_string(address)) < 0 ||
            json_object_set(row, "group", json_object_get(secret, "group")) < 0 ||
            json_object_set(row, "database", json_object_get(secret, "database")) < 0 ||
            json_array_append_new(rows, row) < 0)
            return false;
    }
    return true;
}

static enum escrow_err list_one(struct ctl_peer *peer, void *rows)
{
    CLEANUP(json_free_p) json_t *object = NULL;
    json_t *secret;
    size_t i;
    enum escrow_err err = ctl_peer_get(peer, "/v1/secrets", &object);

    if (err)
        return err;
    json_array_foreach(json_object_get(object, "secrets"), i, secret)
    {
        if (!add_versions(rows, peer->escrowd->address, secret))
            return ESCROW_ERR_MALFORMED;
    }
    return ESCROW_OK;
}

static enum escrow_err run_list(struct ctl *ctl)
{
    static const struct ctl_column columns[] = {{"ESCROWD", "escrowd"},   {"GROUP", "group"},
                                                {"DATABASE", "database"}, {"VERSION", "version"},
                                                {"STATE", "state"},       {"OBJECT", "object"}};

    return ctl_show_rows(ctl, list_one, "secrets", columns, ARRAY_LEN(columns));
}

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

static void print_served(enum ctl_output output, const json_t *tls)
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
        ctl_print_rows(output, tls, rows, columns, ARRAY_LEN(columns));
}

static void print_status(enum ctl_output output, json_t *status)
{
    static const struct ctl_column group_columns[] = {
        {"GROUP", "group"}, {"PRIMARY", "primary"}, {"EPOCH", "epoch"}};
    static const struct ctl_column request_columns[] = {
        {"REQUEST", "request"}, {"GROUP", "group"},   {"DATABASE", "database"},
        {"REPLICA", "replica"}, {"REASON", "reason"}, {"TIME", "time"}};
    const json_t *groups = json_object_get(status, "groups");
    const json_t *requests = json_object_get(status, "requests");

    ctl_print_object(output, status);
    print_served(output, json_object_get(status, "tls"));
    ctl_print_rows(output, status, groups, group_columns, ARRAY_LEN(group_columns));
    if (json_array_size(requests) > 0)
        ctl_print_rows(output, status, requests, request_columns, ARRAY_LEN(request_columns));
    ctl_print_line(output, " ");
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
        print_status(statuses->output, status);
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

const struct ctl_command ctl_list = {"list", run_list,
                                     "show the deposited versions on every escrowd",
                                     "\n"
                                     "\n"
                                     "Names and states only: no password can be read.\n"
                                     "\n"
                                     "  escrowctl list --output json\n"};

const struct ctl_command ctl_status = {"status", run_status,
                                       "show whether every escrowd is ready, and what waits",
                                       "\n"
                                       "\n"
                                       "  escrowctl status\n"};
