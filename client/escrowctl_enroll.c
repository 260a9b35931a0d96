/* SPDX-License-Identifier: Apache-2.0 */
#include "client/enrollment.h"
#include "client/escrowctl.h"
#include "client/escrowctl_files.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/roster.h"

#include <string.h>
#include <unistd.h>

static json_t *texts(const struct ctl_list *list)
{
    CLEANUP(json_free_p) json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++) {
        if (json_array_append_new(array, json_string(list->items[i])) < 0)
            return NULL;
    }
    return TAKE(array);
}

/* An act key that is there already is used: whoever enrolls again keeps its key. */
static enum escrow_err act_key(const char *path, EVP_PKEY **ret_key)
{
    CLEANUP(key_free_p) EVP_PKEY *key = NULL;
    enum escrow_err err;

    if (access(path, F_OK) == 0)
        return key_read_private(path, ret_key);
    key = key_generate();
    if (!key)
        return ESCROW_ERR_CRYPTO;
    err = key_write_private(key, path);
    if (!err)
        *ret_key = TAKE(key);
    return err;
}

static enum escrow_err check(const char *identity, const char *role,
                             const struct ctl_list *instances)
{
    bool is_agent = strcmp(role, roster_role_word(ROSTER_AGENT)) == 0;

    if (!identity_is_valid(identity)) {
        log_error("'%s' is not an identity (spiffe://trust-domain/path)", identity);
        return ESCROW_ERR_USAGE;
    }
    if (!is_agent && strcmp(role, roster_role_word(ROSTER_ADMIN)) != 0 &&
        strcmp(role, roster_role_word(ROSTER_AUDITOR)) != 0) {
        log_error("--role is agent, admin or auditor, not '%s'", role);
        return ESCROW_ERR_USAGE;
    }
    if (is_agent != (instances->count > 0)) {
        log_error("an agent names its instances by --instance, nobody else does");
        return ESCROW_ERR_USAGE;
    }
    return ESCROW_OK;
}

/* Who compares these two lines with the requester by another way knows whom the roster will hold.
 */
static enum escrow_err show(const struct ctl *ctl, const char *identity, EVP_PKEY *key,
                            const char *out)
{
    CLEANUP(json_free_p) json_t *result = NULL;
    struct ec_point point;
    struct tpm_name name;
    enum escrow_err err = key_point(key, &point);

    if (!err)
        err = key_signer_name(&point, &name);
    if (err)
        return err;
    result = json_pack("{s:s, s:o, s:s}", "identity", identity, "key", json_tpm_name(&name), "file",
                       out);
    if (!result)
        return ESCROW_ERR_NO_MEMORY;
    ctl_print_object(ctl->output, result);
    return ESCROW_OK;
}

static enum escrow_err run(struct ctl *ctl)
{
    const char *identity = NULL, *role = NULL, *key_path = NULL, *out = NULL;
    struct ctl_list groups = {.count = 0}, instances = {.count = 0};
    const struct ctl_option options[] = {
        {.name = "identity", .value = &identity, .is_required = true},
        {.name = "role", .value = &role, .is_required = true},
        {.name = "group", .list = &groups, .is_required = true},
        {.name = "instance", .list = &instances},
        {.name = "act-key", .value = &key_path, .is_required = true},
        {.name = "out", .value = &out, .is_required = true},
    };
    CLEANUP(key_free_p) EVP_PKEY *key = NULL;
    CLEANUP(json_free_p) json_t *entry = NULL;
    CLEANUP(cleanup_free) char *compact = NULL;
    enum escrow_err err = ctl_parse(ctl, options, ARRAY_LEN(options), 0, 0);

    if (!err)
        err = check(identity, role, &instances);
    if (err)
        return err;
    entry = json_pack("{s:s, s:s, s:o, s:o}", "identity", identity, "role", role, "groups",
                      texts(&groups), "instances", texts(&instances));
    if (!entry)
        return ESCROW_ERR_NO_MEMORY;
    err = act_key(key_path, &key);
    if (!err)
        err = enrollment_sign(entry, key, &compact);
    if (!err)
        err = ctl_write_text(out, compact);
    return err ? err : show(ctl, identity, key, out);
}

const struct ctl_command ctl_enroll = {
    "enroll", run, "make an act key and a request to be in the roster",
    "--identity URI --role agent|admin|auditor --group NAME... [--instance NAME]...\n"
    "       --act-key FILE --out FILE\n"
    "\n"
    "Makes the act key (0600) unless the file is there, and writes a request that it has signed.\n"
    "Hand the request to the policy authority, and the key Name by another way. --group '*' is\n"
    "all groups; --instance names the SQL Server instances that an agent acts for.\n"
    "\n"
    "  escrowctl enroll --identity spiffe://corp.example/agent/sql1 --role agent --group ssis \\\n"
    "      --instance sql1 --act-key sql1.act --out sql1.enroll\n"};
