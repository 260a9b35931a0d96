/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"

/*
 * What the holder of the recovery key needs when no escrowd is left: finds a deposit in an audit
 * log and opens it, in software. Believes only what an act key of the log's own rosters signed, and
 * only rosters of one policy authority.
 */

struct recovery_search {
    const char *folder; /* of the audit log */
    const char *group, *database;
    uint32_t version;    /* 0: the newest that was deposited as active */
    EVP_PKEY *authority; /* NULL: whichever signed the first roster; a log line names it */
};

/*
 * The act of the deposit, owned by the caller. Every version of the secret has a log line. Where
 * the chain of the log breaks, a log line says so and the search is over: what stands before it
 * counts. ESCROW_ERR_NOT_FOUND; ESCROW_ERR_MALFORMED, ESCROW_ERR_CRYPTO (a roster or a deposit that
 * is not signed as it must be); ESCROW_ERR_STORE; each with a log line.
 */
MUST_CHECK enum escrow_err recovery_find(const struct recovery_search *search,
                                         struct act **ret_deposit);

/*
 * The password of a deposit, owned by the caller. ESCROW_ERR_NOT_FOUND (it was not wrapped to this
 * key), ESCROW_ERR_MALFORMED, ESCROW_ERR_CRYPTO; each with a log line.
 */
MUST_CHECK enum escrow_err recovery_open(const struct act *deposit, EVP_PKEY *recovery,
                                         struct secret **ret_password);
