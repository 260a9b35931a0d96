/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libescrow/jws.h"
#include "libescrow/payload.h"
#include "libescrow/roster.h"
#include "libescrow/wrap.h"

/*
 * Acts and answers: what a client signs with its act key, and what a member signs with its answer
 * key. Both are JWS (jws.h).
 *
 * Act: typ "escrow-act", protected header {act, aud, nonce}: aud = hex of the member's storage-key
 * Name, nonce = base64url of 32 bytes from a challenge. Payload by act ("v": 1 always; hex = Name,
 * b64u = bytes; unknown members are refused):
 *
 *   deposit  {v, purpose: "deposit", group, database, version, state: "active" | "pending",
 *             public: b64u TPMT_PUBLIC, payload: b64u,
 *             blobs: [{to: hex Name of a member's storage key or of the recovery key,
 *                      key: b64u, duplicate: b64u, seed: b64u}]}
 *   release  {v, purpose: "promote" | "rotate" | "drill" | "recover", group, database, replica,
 *             order: text | null, recipient: {x, y}, objects: [{name: hex, signature: b64u}]}
 *   receipt  {v, purpose, group, database, replica, grant: number,
 *             outcome: "opened" | "already_open" | "failed", object: hex | null,
 *             sql_error: number, detail: text of at most 256 bytes}
 *   order    {v, purpose: "rotate" | "drill", group, database, expires_in: seconds}
 *   approve  {v, purpose, request: number, objects: [{name, signature}]}
 *   publish  {v, purpose: "publish", roster: text | null, approvals: [approval]}
 *
 * Answer: typ "escrow-answer", protected header {answer, aud, nonce}: aud = hex of the act key's
 * Name ("" where there is none yet), nonce = that of the challenge. Payload by answer:
 *
 *   challenge {v, act, group, database, nonce, expires_in: seconds, member: hex, next_version,
 *              objects: [{name, version, state, public}]}         (active, pending, retired)
 *   durable   {v, sequence, group, database, version, object: hex, state}
 *   grant     {v, sequence, epoch, reason, group, database, replica,
 *              objects: [{name, version, state, public, payload, key, duplicate, seed}]}
 *   noted     {v, sequence, ...}                    (receipt, order, publish)
 *
 * An approval (tpm_policy.h) is {v: 1, kind: "host" | "node", group, counter: hex, epoch: number,
 *   act_key: hex (node) | pcrs: {selection: number, digest: b64u} (host), signature: b64u}.
 */

#define ACT_NONCE_BYTES 32
#define ACT_OBJECTS_MAX 8 /* of one release or grant */
#define ACT_NAME_MAX 64   /* bytes of a group or replica name: [A-Za-z0-9._-], at least one */
#define ACT_DATABASE_MAX 512 /* bytes of a database name (sysname, 128 characters) */

enum act_kind {
    ACT_DEPOSIT = 1,
    ACT_RELEASE,
    ACT_RECEIPT,
    ACT_ORDER,
    ACT_APPROVE,
    ACT_PUBLISH,
};

enum act_purpose {
    PURPOSE_DEPOSIT = 1,
    PURPOSE_PROMOTE,
    PURPOSE_ROTATE,
    PURPOSE_DRILL,
    PURPOSE_RECOVER,
    PURPOSE_PUBLISH,
};

enum secret_state { SECRET_PENDING = 1, SECRET_ACTIVE, SECRET_RETIRED, SECRET_DESTROYED };
