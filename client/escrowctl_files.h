/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/roster.h"
#include "libescrow/tpm_policy.h"

#include <jansson.h>

/* The documents that escrowctl reads and writes; every failure has a log line with the file. */

/* A file of at most JWS_BYTES_MAX bytes, without the white space at its end. */
MUST_CHECK enum escrow_err ctl_read_text(const char *path, char **ret_text, size_t *ret_len);
MUST_CHECK enum escrow_err ctl_read_object(const char *path, json_t **ret_object);
MUST_CHECK enum escrow_err ctl_read_roster(const char *path, EVP_PKEY *authority,
                                           struct roster **ret_roster);

/* Public documents: mode 0644, a newline at the end, replaced as a whole. */
MUST_CHECK enum escrow_err ctl_write_text(const char *path, const char *text);
MUST_CHECK enum escrow_err ctl_write_object(const char *path, const json_t *object);

/*
 * What `escrowd init` says of a member: {v: 1, label, storage, answer, audit, counter, ek} for the
 * roster, {epoch, pcrs} for approvals.
 */
struct ctl_statement {
    char label[NAME_MAX_BYTES + 1];
    struct tpm_name counter;
    uint64_t epoch;
    struct tpm_pcrs pcrs;
    json_t *entry; /* the member as the roster has it */
};
MUST_CHECK enum escrow_err ctl_read_statement(const char *path,
                                              struct ctl_statement *ret_statement);
void ctl_statement_deinit(struct ctl_statement *statement);
