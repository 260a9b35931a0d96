/* SPDX-License-Identifier: Apache-2.0 */
/* authority approve-host and approve-node: what a member's TPM asks for before it lets a secret go.
 */
#include "client/escrowctl.h"
#include "client/escrowctl_files.h"
#include "libescrow/approval.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdio.h>
#include <string.h>

/* The approvals made so far: the document to publish, and what to show. */
struct approvals {
    EVP_PKEY *authority;
    struct ctl_statement member;
    json_t *documents, *rows;
};

static void approvals_deinit(struct approvals *approvals)
{
    EVP_PKEY_free(approvals->authority);
    ctl_statement_deinit(&approvals->member);
    json_decref(approvals->documents);
    json_decref(approvals->rows);
}

static enum escrow_err approvals_init(struct approvals *approvals, const char *key_path,
                                      const char *member_path)
{
    enum escrow_err err;

    *approvals = (struct approvals){.documents = json_array(), .rows = json_array()};
    if (!approvals->documents || !approvals->rows)
        return ESCROW_ERR_NO_MEMORY;
    err = key_read_private(key_path, &approvals->authority);
    return err ? err : ctl_read_statement(member_path, &approvals->member);
}

/* Which PCRs, and the SHA-256 of their values one after the other: what the TPM will compare. */
static enum escrow_err add_pcrs(json_t *row, const struct tpm_pcrs *pcrs)
{
    CLEANUP(json_free_p) json_t *numbers = json_array();
    char digest[2 * TPM_DIGEST_BYTES + 1];

    for (unsigned i = 0; i < TPM_PCRS; i++) {
        if (pcrs->selection >> i & 1 && json_array_append_new(numbers, json_integer(i)) < 0)
            return ESCROW_ERR_NO_MEMORY;
    }
    hex_encode(pcrs->digest.bytes, TPM_DIGEST_BYTES, digest);
    return json_object_set(row, "pcrs", numbers) == 0 &&
                   json_object_set_new(row, "pcr_digest", json_string(digest)) == 0
               ? ESCROW_OK
               : ESCROW_ERR_NO_MEMORY;
}

static enum escrow_err add(struct approvals *approvals, struct approval *approval,
                           const char *group, const char *identity)
{
    json_t *row;
    enum escrow_err err;

    if (!name_is_valid(group)) {
        log_error("'%s' is not the name of a group", group);
        return ESCROW_ERR_USAGE;
    }
    snprintf(approval->group, sizeof(approval->group), "%s", group);
    approval->counter = approvals->member.counter;
    approval->epoch = approvals->member.epoch;
    err = approval_sign(approvals->authority, approval);
    if (err)
        return err;
    row = json_pack("{s:s, s:s, s:s, s:I, s:s?}", "kind",
                    approval->kind == TPM_APPROVAL_HOST ? "host" : "node", "member",
                    approvals->member.label, "group", group, "epoch", (json_int_t)approval->epoch,
                    "identity", identity);
    if (approval->kind == TPM_APPROVAL_HOST && add_pcrs(row, &approval->pcrs)) {
        json_decref(row);
        return ESCROW_ERR_NO_MEMORY;
    }
    if (json_array_append_new(approvals->documents, approval_to_json(approval)) < 0 ||
        json_array_append_new(approvals->rows, row) < 0)
        return ESCROW_ERR_NO_MEMORY;
    return ESCROW_OK;
}

#define PCR_COLUMNS 2

static enum escrow_err finish(const struct ctl *ctl, const struct approvals *approvals,
                              const char *out, bool with_pcrs)
{
    static const struct ctl_column columns[] = {{"KIND", "kind"},
                                                {"MEMBER", "member"},
                                                {"GROUP", "group"},
                                                {"IDENTITY", "identity"},
                                                {"EPOCH COUNTER", "epoch"},
                                                /* of host approvals only */
                                                {"PCRS", "pcrs"},
                                                {"SHA-256 OF THEIR VALUES", "pcr_digest"}};
    CLEANUP(json_free_p) json_t *document = json_pack("{s:O}", "approvals", approvals->documents);
    CLEANUP(json_free_p)
    json_t *result = json_pack("{s:s, s:O}", "file", out, "approvals", approvals->rows);
    enum escrow_err err;

    if (!document || !result)
        return ESCROW_ERR_NO_MEMORY;
    if (json_array_size(approvals->rows) == 0) {
        log_error("there is nothing to approve");
        return ESCROW_ERR_NOT_FOUND;
    }
    err = ctl_write_object(out, document);
    if (!err)
        ctl_print_rows(ctl->output, result, approvals->rows, columns,
                       ARRAY_LEN(columns) - (with_pcrs ? 0 : PCR_COLUMNS));
    return err;
}

static enum escrow_err run_host(struct ctl *ctl)
{
    CLEANUP(approvals_deinit) struct approvals approvals = {0};
    const char *key = NULL, *member = NULL, *out = NULL;
    struct ctl_list groups = {.count = 0};
    const struct ctl_option options[] = {
        {.name = "key", .value = &key, .is_required = true},
        {.name = "member", .value = &member, .is_required = true},
        {.name = "group", .list = &groups, .is_required = true},
        {.name = "out", .value = &out, .is_required = true},
    };
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (!err)
        err = approvals_init(&approvals, key, member);
    for (size_t i = 0; !err && i < groups.count; i++) {
        struct approval approval = {.kind = TPM_APPROVAL_HOST, .pcrs = approvals.member.pcrs};

        err = add(&approvals, &approval, groups.items[i], NULL);
    }
    return err ? err : finish(ctl, &approvals, out, true);
}

static bool is_listed(const struct ctl_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], text) == 0)
            return true;
    }
    return false;
}

/* The groups of the key, or of the command line those that the key covers. */
static enum escrow_err approve_key(struct approvals *approvals, const struct roster_key *key,
                                   const struct ctl_list *groups)
{
    enum escrow_err err = ESCROW_OK;

    for (size_t i = 0; !err && i < groups->count; i++) {
        struct approval approval = {.kind = TPM_APPROVAL_NODE, .act_key_count = 1};

        approval.act_keys[0] = key->name;
        if (roster_key_covers(key, groups->items[i]))
            err = add(approvals, &approval, groups->items[i], key->identity);
    }
    for (size_t i = 0; !err && groups->count == 0 && i < key->group_count; i++) {
        struct approval approval = {.kind = TPM_APPROVAL_NODE, .act_key_count = 1};

        approval.act_keys[0] = key->name;
        if (strcmp(key->groups[i], "*") == 0) {
            log_error("%s may act for all groups: name them by --group", key->identity);
            return ESCROW_ERR_USAGE;
        }
        err = add(approvals, &approval, key->groups[i], key->identity);
    }
    return err;
}

static enum escrow_err approve_keys(struct approvals *approvals, const struct roster *roster,
                                    const struct ctl_list *identities,
                                    const struct ctl_list *groups)
{
    const struct roster_key *keys;
    size_t count = roster_keys(roster, &keys);
    enum escrow_err err = ESCROW_OK;

    for (size_t i = 0; !err && i < count; i++) {
        bool is_wanted = identities->count == 0 || is_listed(identities, keys[i].identity);

        if (keys[i].role == ROSTER_AGENT && is_wanted)
            err = approve_key(approvals, &keys[i], groups);
    }
    return err;
}

static enum escrow_err run_node(struct ctl *ctl)
{
    CLEANUP(approvals_deinit) struct approvals approvals = {0};
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    const char *key = NULL, *member = NULL, *roster_path = NULL, *out = NULL;
    struct ctl_list groups = {.count = 0}, identities = {.count = 0};
    const struct ctl_option options[] = {
        {.name = "key", .value = &key, .is_required = true},
        {.name = "member", .value = &member, .is_required = true},
        {.name = "roster", .value = &roster_path, .is_required = true},
        {.name = "identity", .list = &identities},
        {.name = "group", .list = &groups},
        {.name = "out", .value = &out, .is_required = true},
    };
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (!err)
        err = approvals_init(&approvals, key, member);
    if (!err)
        err = ctl_read_roster(roster_path, approvals.authority, &roster);
    if (!err)
        err = approve_keys(&approvals, roster, &identities, &groups);
    return err ? err : finish(ctl, &approvals, out, false);
}

const struct ctl_command ctl_authority_approve_host = {
    "authority approve-host", run_host, "approve a member's boot state for groups",
    "--key FILE --member STATEMENT --group NAME... --out FILE\n"
    "\n"
    "Approves the PCR values and epoch in the member's statement (written by `escrowd init`) for\n"
    "each group, and prints which PCRs these are and the SHA-256 of their values: compare it with\n"
    "the machine, where `tpm2_pcrread -o values sha256:7,11 && sha256sum values` makes it (with\n"
    "its PCRs). Publish the resulting file.\n"
    "\n"
    "  escrowctl authority approve-host --key authority.key --member e1.json --group ssis \\\n"
    "      --out e1-host.json\n"};

const struct ctl_command ctl_authority_approve_node = {
    "authority approve-node", run_node, "approve agents' act keys for groups, on one member",
    "--key FILE --member STATEMENT --roster FILE [--identity URI]... [--group NAME]... --out FILE\n"
    "\n"
    "Approves every agent of the roster, or those named, for its groups, or for those of --group\n"
    "that it may act for. Approvals are per member: one file for each statement.\n"
    "\n"
    "  escrowctl authority approve-node --key authority.key --member e1.json \\\n"
    "      --roster roster.jws --out e1-node.json\n"};
