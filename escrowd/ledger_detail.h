/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"
#include "policy/decide.h"
#include "policy/policy.h"

#include <jansson.h>

/*
 * The "detail" of the audit records that the ledger folds: written by the keeper, read by the fold,
 * both here so that they agree.
 *
 *   release   {"kind", "mints_epoch": bool, "hints": hints | null, "request": wanted | null}
 *   epoch     {"origin": "baseline" | "observed", "hints": {database: hints, ...}}
 *   receipt   {"outcome", "object": hex | null, "sql_error": number, "text", "settles": false}
 *   settle    {"receipt": number | null, "opens": word | null, "sql_error": number,
 *              "asked": number}
 *   order     {"expires_ms": Unix time in ms}
 *   approve, expired  {"request": number}
 *   wanted    {"recipient": {"x", "y"}, "rules": [name], "expires_ms": Unix time in ms}
 *   hints     {"recovery_lsn": text | null, "sequence_number": number | null}
 *
 * Functions that make one return NULL without memory; those that read one return
 * ESCROW_ERR_MALFORMED.
 */
/* What admins are asked to approve, beside what the record has of it. */
struct ledger_wanted {
    struct ec_point recipient;
    unsigned rules;     /* that need it: policy_rules_to_approve */
    int64_t expires_ms; /* Unix time */
};

struct ledger_release {
    enum policy_kind kind; /* for readers of the log; the fold does not ask */
    bool mints_epoch;
    bool has_hints;
    struct policy_hints hints;
    bool is_wanted; /* admins are asked */
    struct ledger_wanted wanted;
};

/* The fingerprints that an instance told; what does not have its form is left out. */
void ledger_hints_from(const struct probe_state *state, struct policy_hints *ret_hints);

json_t *ledger_release_detail(const struct ledger_release *release);
MUST_CHECK enum escrow_err ledger_release_read(const json_t *detail,
                                               struct ledger_release *ret_release);

struct ledger_epoch {
    enum policy_origin origin; /* BASELINE or OBSERVED */
    size_t hint_count;
    struct {
        char database[POLICY_DATABASE_MAX + 1];
        struct policy_hints hints;
    } hints[POLICY_DATABASES_MAX];
};

json_t *ledger_epoch_detail(const struct ledger_epoch *epoch);
MUST_CHECK enum escrow_err ledger_epoch_read(const json_t *detail, struct ledger_epoch *ret_epoch);

json_t *ledger_receipt_detail(const struct act_receipt *receipt);
/* *ret_settles: a good one of before a settle record said it. */
MUST_CHECK enum escrow_err ledger_receipt_read(const json_t *detail, enum act_outcome *ret_outcome,
                                               bool *ret_settles);

/* What came of asking the replica of a grant whether its master key opens. */
struct ledger_proof {
    uint64_t receipt;       /* the record that says that it does; 0: there is none */
    bool is_told;           /* false: it could not be asked, and the next two count for nothing */
    enum probe_opens opens; /* its last answer */
    int32_t sql_error;
    unsigned asked; /* how often */
};

json_t *ledger_proof_detail(const struct ledger_proof *proof);
MUST_CHECK enum escrow_err ledger_proof_read(const json_t *detail, struct ledger_proof *ret_proof);

json_t *ledger_request_detail(uint64_t request);
MUST_CHECK enum escrow_err ledger_request_read(const json_t *detail, uint64_t *ret_request);

json_t *ledger_order_detail(int64_t expires_ms);
MUST_CHECK enum escrow_err ledger_order_read(const json_t *detail, int64_t *ret_expires_ms);
