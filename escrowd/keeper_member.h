/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "escrowd/tpm_member.h"

/*
 * The files of a member's state folder that `escrowd init` makes once: its statement for the roster
 * (public), its answer key and the TPM's storage auth (mode 0600), and the auth values for the
 * recovery key.
 *
 *   member.json    {"v": 1, "label", "storage": b64u TPMT_PUBLIC, "answer": {"x", "y"},
 *                   "audit": b64u TPMT_PUBLIC, "counter": hex, "epoch": number,
 *                   "pcrs": {"selection": number, "digest": b64u}, "ek": "none" | "verified"}
 *   answer.key     PKCS #8 PEM
 *   storage.auth   32 bytes
 *   recovery.json  owner and lockout auth, wrapped (tpm_provision.h)
 */
struct keeper_member {
    struct tpm_names names;
    struct tpm_name answer;
    EVP_PKEY *answer_key;
    struct secret *storage_auth;
};

/* Path of a file in the state folder, owned by the caller; NULL without memory. */
char *keeper_member_path(const struct escrowd_config *config, const char *name);
#define MEMBER_STATEMENT "member.json"
#define MEMBER_ANSWER_KEY "answer.key"
#define MEMBER_STORAGE_AUTH "storage.auth"
#define MEMBER_RECOVERY "recovery.json"
#define MEMBER_STORE "store.sqlite"

/* ESCROW_ERR_CONFIG with a log line if a file is missing or does not have its form. */
MUST_CHECK enum escrow_err keeper_member_load(const struct escrowd_config *config,
                                              struct keeper_member **ret_member);
void keeper_member_free(struct keeper_member *member);
CLEANUP_FUNCTION(keeper_member_free_p, struct keeper_member, keeper_member_free)

/* The text of member.json, owned by the caller; NULL without memory. */
char *keeper_member_text(const char *label, const struct tpm_member *member,
                         const struct ec_point *answer);
