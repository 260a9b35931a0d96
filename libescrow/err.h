/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/cleanup.h"

/*
 * The one result type of the project. Foreign codes (TSS2_RC, the OpenSSL queue, errno, SQLite,
 * ODBC diagnostics) are logged in full where they occur and become one of these at the edge of the
 * module that owns the foreign API. A refusal carries a reason (reason.h) beside ESCROW_ERR_DENIED.
 */
enum escrow_err {
    ESCROW_OK = 0,
    ESCROW_ERR_USAGE,       /* wrong command line */
    ESCROW_ERR_CONFIG,      /* a configuration, policy or key file is missing or wrong */
    ESCROW_ERR_MALFORMED,   /* input of a peer or of a stored file does not have its form */
    ESCROW_ERR_DENIED,      /* understood, and refused */
    ESCROW_ERR_NOT_FOUND,   /* what was named does not exist */
    ESCROW_ERR_EXISTS,      /* what was to be made exists already; nothing was overwritten */
    ESCROW_ERR_UNAVAILABLE, /* a peer, role, TPM or instance does not answer now; try again */
    ESCROW_ERR_TIMEOUT,     /* the deadline passed */
    ESCROW_ERR_CRYPTO,      /* a signature, tag or certificate is not right, or OpenSSL failed */
    ESCROW_ERR_TPM,         /* the TPM refused or failed */
    ESCROW_ERR_STORE,       /* log or store cannot be written or read */
    ESCROW_ERR_SQL,         /* SQL Server answered with an error */
    ESCROW_ERR_SYSTEM,      /* a system call failed */
    ESCROW_ERR_NO_MEMORY,
};

/* The name of a result, lower case without prefix ("denied"); "unknown" for anything else. */
const char *escrow_err_name(enum escrow_err err);

/* The exit code of our commands for a result: 0, or a stable number per value (man page). */
int escrow_err_exit_code(enum escrow_err err);
