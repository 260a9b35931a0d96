/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"

/*
 * The JSON bodies of /v1 around acts (act.h) and answers (answer.h). They carry; what counts is
 * inside the signatures.
 *
 *   POST /v1/challenge   {"v": 1, "act", "purpose", "group", "database", "key": hex Name}
 *                        -> 200 {"answer": compact}, a challenge to that act key. key is the act
 *                        key that will sign; group and database are "" for publish.
 *   POST /v1/deposit, release, receipt, orders, approve, publish, rebaseline
 *                        {"act": compact} -> 200 {"answer": compact}
 *                        release only: 202 {"request": number, "reason": code}, an admin must
 *                        approve
 *   GET /v1/roster       {"roster": compact}
 *   GET /v1/orders?wait=SECONDS
 *                        {"orders": [{"order", "purpose", "group", "database", "expires": time}]}
 *   GET /v1/secrets      {"secrets": [{"group", "database", "versions": [{"version", "state",
 *                        "object": hex, "sequence", "time", "imported": bool}]}]}
 *   GET /v1/health       200 or 503 {"ready": bool, "reasons": [code]}
 *   GET /v1/status       {"member": label, "key": hex storage-key Name, "ready", "reasons",
 *                        "trouble": text or null, "roster": version, "rules": hex, "log": null
 *                        or {"sequence", "hash", "time"}, "versions", "unimported",
 *                        "unsettled", "requests": [{"request", "group", "database", "replica",
 *                        "purpose", "reason", "time", "expires", "actor", "rules", "approvals",
 *                        "approvals_needed"}], "groups": [{"group", "database",
 *                        "primary": instance or null, "epoch", "replicas": [{"instance",
 *                        "outcome", "role", "diagnosis", "ago_ms"}]}]}, null what is unknown
 *   GET /v1/requests?number=NUMBER&wait=SECONDS
 *                        as in "requests" above, and "state": "pending", "approved", "expired" or
 *                        "closed", "act": the requester's compact act, or null when closed
 *   GET /v1/explain?target=NUMBER
 *                        for entry NUMBER of "groups" above, from 1: {"group", "database",
 *                        "rules": hex, "evidence", "decisions": [{"request", "verdict"}]}, as in
 *                        policy/evidence.h; "evidence" is the first decision's
 *   GET /v1/audit?from=SEQUENCE&limit=N
 *                        application/x-ndjson, records as in the log (audit_record.h)
 *
 * Everything else is application/problem+json (RFC 9457) with a code of reason.h.
 */
struct rpc_challenge {
    enum act_kind act;
    enum act_purpose purpose;
    struct act_subject subject; /* empty for publish */
    struct tpm_name key;
};

/* Text owned by the caller; NULL without memory. */
char *rpc_challenge_text(const struct rpc_challenge *challenge);
/* ESCROW_ERR_MALFORMED with a log line; also if the purpose is not one of the act's. */
MUST_CHECK enum escrow_err rpc_challenge_parse(const char *text, size_t len,
                                               struct rpc_challenge *ret_challenge);

/* {"act": compact} and the like. Also NULL if the text is no compact JWS by its characters. */
char *rpc_wrap(const char *member, const char *compact);
/*
 * The text of the only member, which must have the characters of a compact JWS and none of them
 * escaped; owned by the caller. ESCROW_ERR_MALFORMED, ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err rpc_unwrap(const char *text, size_t len, const char *member,
                                      char **ret_compact);
