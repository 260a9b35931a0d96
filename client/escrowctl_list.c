/* SPDX-License-Identifier: Apache-2.0 */
/* list: the versions that each escrowd holds. */
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

    static const struct ctl_rows shown = {"secrets", "nothing was deposited", columns,
                                          ARRAY_LEN(columns)};

    return ctl_show_rows(ctl, list_one, &shown);
}

const struct ctl_command ctl_list = {"list", run_list,
                                     "show the deposited versions on every escrowd",
                                     "\n"
                                     "\n"
                                     "Names and states only: no password can be read.\n"
                                     "\n"
                                     "  escrowctl list --output json\n"};
