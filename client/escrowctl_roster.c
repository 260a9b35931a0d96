/* SPDX-License-Identifier: Apache-2.0 */
/* roster new, add-member, add-key, remove-member, remove-key: on the policy authority's machine. */
#include "client/escrowctl_roster.h"

#include "client/enrollment.h"
#include "client/escrowctl.h"
#include "client/escrowctl_files.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <string.h>
#include <unistd.h>

/* A roster file in the hands of its authority. */
struct edit {
    const char *path;
    EVP_PKEY *authority;
    json_t *payload;
    size_t members_before, keys_before; /* what comes after them is new */
};

static void edit_deinit(struct edit *edit)
{
    EVP_PKEY_free(edit->authority);
    json_decref(edit->payload);
}

static enum escrow_err edit_init(struct edit *edit, const char *key, const char *path)
{
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    enum escrow_err err = key_read_private(key, &edit->authority);

    edit->path = path;
    if (!err)
        err = ctl_read_roster(path, edit->authority, &roster);
    if (err)
        return err;
    edit->payload = roster_payload(roster);
    edit->members_before = json_array_size(json_object_get(edit->payload, "members"));
    edit->keys_before = json_array_size(json_object_get(edit->payload, "keys"));
    return edit->payload ? ESCROW_OK : ESCROW_ERR_NO_MEMORY;
}

/* What was taken in: the Names are there to be compared. */
static void print_new(const json_t *members, const json_t *keys)
{
    if (json_array_size(members) > 0)
        ctl_print_roster_members(members);
    if (json_array_size(keys) > 0)
        ctl_print_roster_keys(keys);
}

static enum escrow_err write_roster(const struct ctl *ctl, const struct edit *edit)
{
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    CLEANUP(json_free_p) json_t *result = NULL;
    CLEANUP(json_free_p) json_t *new_members = NULL;
    CLEANUP(json_free_p) json_t *new_keys = NULL;
    const struct roster_member *members;
    const struct roster_key *keys;
    enum escrow_err err = roster_sign(edit->payload, edit->authority, &roster);

    if (!err)
        err = ctl_write_text(edit->path, roster_compact(roster));
    if (err)
        return err;
    result = json_pack("{s:s, s:I, s:I, s:I}", "file", edit->path, "version",
                       (json_int_t)roster_version(roster), "members",
                       (json_int_t)roster_members(roster, &members), "keys",
                       (json_int_t)roster_keys(roster, &keys));
    new_members = ctl_roster_members(roster, edit->members_before);
    new_keys = ctl_roster_keys(roster, edit->keys_before);
    if (!result || !new_members || !new_keys)
        return ESCROW_ERR_NO_MEMORY;
    if (ctl->output == CTL_OUTPUT_JSON &&
        (json_object_set(result, "new_members", new_members) < 0 ||
         json_object_set(result, "new_keys", new_keys) < 0))
        return ESCROW_ERR_NO_MEMORY;
    ctl_print_object(ctl->output, result);
    if (ctl->output == CTL_OUTPUT_TABLE)
        print_new(new_members, new_keys);
    return ESCROW_OK;
}

/* The next version, signed, in the place of the one before. */
static enum escrow_err edit_finish(const struct ctl *ctl, const struct edit *edit)
{
    json_int_t version = json_integer_value(json_object_get(edit->payload, "version"));

    if (json_object_set_new(edit->payload, "version", json_integer(version + 1)) < 0)
        return ESCROW_ERR_NO_MEMORY;
    return write_roster(ctl, edit);
}

static json_t *public_point(EVP_PKEY *key)
{
    struct ec_point point;

    return key_point(key, &point) == ESCROW_OK ? json_point(&point) : NULL;
}

static enum escrow_err run_new(struct ctl *ctl)
{
    CLEANUP(edit_deinit) struct edit edit = {0};
    CLEANUP(key_free_p) EVP_PKEY *recovery = NULL;
    const char *key = NULL, *recovery_path = NULL;
    const struct ctl_option options[] = {
        {.name = "key", .value = &key, .is_required = true},
        {.name = "recovery", .value = &recovery_path, .is_required = true},
        {.name = "roster", .value = &edit.path, .is_required = true},
    };
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (err)
        return err;
    if (access(edit.path, F_OK) == 0) {
        log_error("%s exists already; nothing was overwritten", edit.path);
        return ESCROW_ERR_EXISTS;
    }
    err = key_read_private(key, &edit.authority);
    if (!err)
        err = key_read_public(recovery_path, &recovery);
    if (err)
        return err;
    edit.payload = json_pack("{s:i, s:i, s:o, s:o, s:[], s:[]}", "v", 1, "version", 1, "authority",
                             public_point(edit.authority), "recovery", public_point(recovery),
                             "members", "keys");
    return edit.payload ? write_roster(ctl, &edit) : ESCROW_ERR_NO_MEMORY;
}

/* Options, and the files of an edit; least and most other arguments. */
static enum escrow_err begin(struct ctl *ctl, struct edit *edit, int least, int most)
{
    const char *key = NULL, *path = NULL;
    const struct ctl_option options[] = {
        {.name = "key", .value = &key, .is_required = true},
        {.name = "roster", .value = &path, .is_required = true},
    };
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), least, most);

    return err ? err : edit_init(edit, key, path);
}

static enum escrow_err append(const struct edit *edit, const char *list, json_t *entry)
{
    return json_array_append(json_object_get(edit->payload, list), entry) == 0
               ? ESCROW_OK
               : ESCROW_ERR_NO_MEMORY;
}

static enum escrow_err run_add_member(struct ctl *ctl)
{
    CLEANUP(edit_deinit) struct edit edit = {0};
    enum escrow_err err = begin(ctl, &edit, 1, ROSTER_MEMBERS_MAX);

    for (int i = 0; !err && i < ctl->argc; i++) {
        CLEANUP(ctl_statement_deinit) struct ctl_statement statement = {0};

        err = ctl_read_statement(ctl->argv[i], &statement);
        if (!err)
            err = append(&edit, "members", statement.entry);
    }
    return err ? err : edit_finish(ctl, &edit);
}

static enum escrow_err run_add_key(struct ctl *ctl)
{
    CLEANUP(edit_deinit) struct edit edit = {0};
    enum escrow_err err = begin(ctl, &edit, 1, ROSTER_KEYS_MAX);

    for (int i = 0; !err && i < ctl->argc; i++) {
        CLEANUP(cleanup_free) char *text = NULL;
        CLEANUP(json_free_p) json_t *entry = NULL;
        size_t len = 0;

        err = ctl_read_text(ctl->argv[i], &text, &len);
        if (!err)
            err = enrollment_read(text, len, &entry);
        if (!err)
            err = append(&edit, "keys", entry);
    }
    return err ? err : edit_finish(ctl, &edit);
}

/* Takes out every item whose member is this text. ESCROW_ERR_NOT_FOUND if there is none. */
static enum escrow_err take_out(const struct edit *edit, const char *list, const char *member,
                                const char *text)
{
    json_t *array = json_object_get(edit->payload, list);
    size_t i = 0, before = json_array_size(array);

    while (i < json_array_size(array)) {
        const char *value = json_string_value(json_object_get(json_array_get(array, i), member));

        if (value && strcmp(value, text) == 0)
            json_array_remove(array, i);
        else
            i++;
    }
    if (json_array_size(array) < before)
        return ESCROW_OK;
    log_error("the roster has no %s '%s'", member, text);
    return ESCROW_ERR_NOT_FOUND;
}

static enum escrow_err run_remove_member(struct ctl *ctl)
{
    CLEANUP(edit_deinit) struct edit edit = {0};
    enum escrow_err err = begin(ctl, &edit, 1, 1);

    if (!err)
        err = take_out(&edit, "members", "label", ctl->argv[0]);
    return err ? err : edit_finish(ctl, &edit);
}

static enum escrow_err run_remove_key(struct ctl *ctl)
{
    CLEANUP(edit_deinit) struct edit edit = {0};
    enum escrow_err err = begin(ctl, &edit, 1, 1);

    if (!err)
        err = take_out(&edit, "keys", "identity", ctl->argv[0]);
    return err ? err : edit_finish(ctl, &edit);
}

const struct ctl_command ctl_roster_new = {
    "roster new", run_new, "sign a roster without members and keys",
    "--key FILE --recovery PUBLIC-KEY --roster FILE\n"
    "\n"
    "  escrowctl roster new --key authority.key --recovery recovery.pub --roster roster.jws\n"};

const struct ctl_command ctl_roster_add_member = {
    "roster add-member", run_add_member, "add escrowds by their statements",
    "--key FILE --roster FILE STATEMENT...\n"
    "\n"
    "A statement is what `escrowd init` wrote on the member. Fetch it by a way that you trust:\n"
    "whoever swaps it gets every secret that is deposited later. Compare the Name of its storage\n"
    "key, which is printed, with the one that `escrowd init` said.\n"
    "\n"
    "  escrowctl roster add-member --key authority.key --roster roster.jws e1.json e2.json\n"};

const struct ctl_command ctl_roster_add_key = {
    "roster add-key", run_add_key, "add agents, admins and auditors by their requests",
    "--key FILE --roster FILE REQUEST...\n"
    "\n"
    "A request is what `escrowctl enroll` wrote. That it is signed proves possession of the key,\n"
    "not the identity: compare the Name of the key, which is printed, with its owner.\n"
    "\n"
    "  escrowctl roster add-key --key authority.key --roster roster.jws sql1.enroll\n"};

const struct ctl_command ctl_roster_remove_member = {
    "roster remove-member", run_remove_member, "take an escrowd out",
    "--key FILE --roster FILE LABEL\n"
    "\n"
    "What was deposited before stays readable to that member's TPM: rotate the passwords.\n"
    "\n"
    "  escrowctl roster remove-member --key authority.key --roster roster.jws e2\n"};

const struct ctl_command ctl_roster_remove_key = {
    "roster remove-key", run_remove_key, "take an identity out, with all its keys",
    "--key FILE --roster FILE IDENTITY\n"
    "\n"
    "  escrowctl roster remove-key --key authority.key --roster roster.jws \\\n"
    "      spiffe://corp.example/agent/sql1\n"};
