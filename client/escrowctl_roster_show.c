/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl.h"
#include "client/escrowctl_files.h"
#include "client/escrowctl_roster.h"
#include "libescrow/json.h"

static json_t *member_row(const struct roster_member *member)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:s}", "label", member->label, "storage",
                     json_tpm_name(&member->storage), "answer", json_tpm_name(&member->answer),
                     "counter", json_tpm_name(&member->counter), "ek",
                     member->is_ek_verified ? "verified" : "none");
}

static json_t *texts(const char *const *items, size_t count)
{
    CLEANUP(json_free_p) json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(array, json_string(items[i])) < 0)
            return NULL;
    }
    return TAKE(array);
}

static json_t *key_row(const struct roster_key *key)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "identity", key->identity, "role",
                     roster_role_word(key->role), "groups", texts(key->groups, key->group_count),
                     "instances", texts(key->instances, key->instance_count), "key",
                     json_tpm_name(&key->name));
}

json_t *ctl_roster_members(const struct roster *roster, size_t first)
{
    CLEANUP(json_free_p) json_t *rows = json_array();
    const struct roster_member *members;
    size_t count = roster_members(roster, &members);

    for (size_t i = first; i < count; i++) {
        if (json_array_append_new(rows, member_row(&members[i])) < 0)
            return NULL;
    }
    return TAKE(rows);
}

json_t *ctl_roster_keys(const struct roster *roster, size_t first)
{
    CLEANUP(json_free_p) json_t *rows = json_array();
    const struct roster_key *keys;
    size_t count = roster_keys(roster, &keys);

    for (size_t i = first; i < count; i++) {
        if (json_array_append_new(rows, key_row(&keys[i])) < 0)
            return NULL;
    }
    return TAKE(rows);
}

void ctl_print_roster_members(const json_t *rows)
{
    static const struct ctl_column columns[] = {
        {"MEMBER", "label"}, {"EK", "ek"}, {"STORAGE KEY", "storage"}};

    ctl_print_rows(CTL_OUTPUT_TABLE, rows, rows, columns, ARRAY_LEN(columns));
}

void ctl_print_roster_keys(const json_t *rows)
{
    static const struct ctl_column columns[] = {{"ROLE", "role"},
                                                {"IDENTITY", "identity"},
                                                {"GROUPS", "groups"},
                                                {"INSTANCES", "instances"},
                                                {"ACT KEY", "key"}};

    ctl_print_rows(CTL_OUTPUT_TABLE, rows, rows, columns, ARRAY_LEN(columns));
}

static json_t *describe(const struct roster *roster)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "version", (json_int_t)roster_version(roster),
                     "authority", json_tpm_name(roster_authority(roster)), "recovery",
                     json_tpm_name(roster_recovery_name(roster)), "members",
                     ctl_roster_members(roster, 0), "keys", ctl_roster_keys(roster, 0));
}

static enum escrow_err run(struct ctl *ctl)
{
    CLEANUP(key_free_p) EVP_PKEY *authority = NULL;
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    CLEANUP(json_free_p) json_t *result = NULL;
    const char *authority_path = NULL;
    const struct ctl_option options[] = {
        {.name = "authority", .value = &authority_path, .is_required = true}};
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 1, 1);

    if (!err)
        err = key_read_public(authority_path, &authority);
    if (!err)
        err = ctl_read_roster(ctl->argv[0], authority, &roster);
    if (err)
        return err;
    result = describe(roster);
    if (!result)
        return ESCROW_ERR_NO_MEMORY;
    ctl_print_object(ctl->output, result);
    if (ctl->output == CTL_OUTPUT_JSON)
        return ESCROW_OK;
    ctl_print_line(ctl->output, " ");
    ctl_print_roster_members(json_object_get(result, "members"));
    ctl_print_line(ctl->output, " ");
    ctl_print_roster_keys(json_object_get(result, "keys"));
    return ESCROW_OK;
}

const struct ctl_command ctl_roster_show = {
    "roster show", run, "verify a roster and show who is in it",
    "--authority PUBLIC-KEY FILE\n"
    "\n"
    "  escrowctl roster show --authority authority.pub roster.jws\n"};
