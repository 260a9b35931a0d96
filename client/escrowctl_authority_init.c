/* SPDX-License-Identifier: Apache-2.0 */
#include "client/escrowctl.h"
#include "libescrow/json.h"
#include "libescrow/key.h"
#include "libescrow/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* FOLDER/NAME.key and FOLDER/NAME.pub. */
static enum escrow_err make_pair(const char *folder, const char *name)
{
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    CLEANUP(cleanup_free) char *private_path = NULL;
    CLEANUP(cleanup_free) char *public_path = NULL;
    enum escrow_err err;

    if (!key || asprintf(&private_path, "%s/%s.key", folder, name) < 0 ||
        asprintf(&public_path, "%s/%s.pub", folder, name) < 0)
        return ESCROW_ERR_NO_MEMORY;
    err = key_write_private(key, private_path);
    return err ? err : key_write_public(key, public_path);
}

static enum escrow_err run(struct ctl *ctl)
{
    CLEANUP(json_free_p) json_t *result = NULL;
    const char *folder;
    enum escrow_err err = ctl_parse(ctl, NULL, 0, 1, 1);

    if (err)
        return err;
    folder = ctl->argv[0];
    if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
        log_error("%s: cannot be made: %s", folder, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    err = make_pair(folder, "authority");
    if (!err)
        err = make_pair(folder, "recovery");
    if (err)
        return err;
    result = json_pack("{s:s+, s:s+, s:s+, s:s+}", "authority_key", folder, "/authority.key",
                       "authority", folder, "/authority.pub", "recovery_key", folder,
                       "/recovery.key", "recovery", folder, "/recovery.pub");
    if (!result)
        return ESCROW_ERR_NO_MEMORY;
    ctl_print_object(ctl->output, result);
    ctl_print_line(ctl->output, "Keep authority.key offline; put recovery.key into a safe.");
    return ESCROW_OK;
}

const struct ctl_command ctl_authority_init = {
    "authority init", run, "make the policy authority's and the recovery key",
    "FOLDER\n"
    "\n"
    "Makes FOLDER/authority.key and recovery.key (0600) with their public halves, on a machine\n"
    "that is not an escrowd. Nothing is overwritten.\n"
    "\n"
    "  escrowctl authority init /media/usb/escrow\n"};
