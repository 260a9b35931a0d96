/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/*
 * The stable reason codes: the word that stands in the reply, in the log line and in the audit
 * record of each refusal (and of each grant). Words are never renamed or reused; new ones are added
 * at the end of their block.
 */
enum reason {
    REASON_NONE = 0,

    /* Grants. */
    REASON_PROMOTION,         /* rules 1-5 hold, a new epoch */
    REASON_PROMOTION_REPEAT,  /* the same replica again, its grant is unsettled */
    REASON_CANDIDATE_SILENCE, /* as promotion, by the two-replica rule */
    REASON_ORDERED,           /* on an order (rotate, drill) */
    REASON_APPROVED,          /* approved by admins */
    REASON_RESTART_ALLOWED,   /* the same primary, its hints changed, and on_restart is allow */
    REASON_REBASELINED,       /* no release: an admin had the group's primary taken as known */

    /* The request itself. */
    REASON_MALFORMED,
    REASON_TOO_LARGE,
    REASON_METHOD_NOT_ALLOWED,
    REASON_NO_SUCH_PATH,
    REASON_NOT_TLS, /* plain HTTP, or a peer without a verified certificate */
    REASON_CERTIFICATE_REVOKED,
    REASON_CERTIFICATE_EXPIRED,
    REASON_CRL_STALE,
    REASON_IDENTITY_UNKNOWN, /* the certificate's SAN URI is in no roster entry */
    REASON_SIGNATURE_INVALID,
    REASON_KEY_UNKNOWN,       /* kid is not in the roster */
    REASON_IDENTITY_MISMATCH, /* the act key belongs to another identity than the channel */
    REASON_AUDIENCE_MISMATCH, /* aud is not this member */
    REASON_ACT_MISMATCH,      /* the act is not the one of this path */
    REASON_NONCE_INVALID,     /* unknown, used, expired, or another identity's or act's */
    REASON_ROLE_NOT_ALLOWED,  /* the act key's role or groups do not cover this */
    REASON_GROUP_UNKNOWN,
    REASON_DATABASE_UNKNOWN,
    REASON_REPLICA_UNKNOWN,
    REASON_SECRET_UNKNOWN,
    REASON_OBJECT_MISMATCH,   /* the objects are not those of the challenge */
    REASON_RECIPIENT_INVALID, /* the recipient is not a valid P-256 point */
    REASON_TEMPLATE_MISMATCH, /* a deposited object is not the template byte for byte */
    REASON_BLOB_MISSING, /* a deposit does not hold a blob for this member or the recovery key */
    REASON_VERSION_MISMATCH, /* the deposit's version is not the next one, or its object is one */
    REASON_ROSTER_OLD,       /* an older or equal version of the roster */
    REASON_ROSTER_INVALID,
    REASON_APPROVAL_INVALID,      /* a host or node approval that is not signed or not ours */
    REASON_GRANT_UNKNOWN,         /* a receipt for no grant of this replica */
    REASON_ORDER_UNKNOWN,         /* no such order, or used, or expired */
    REASON_BLOB_INVALID,          /* this member's blob of a deposit does not open */
    REASON_CERTIFICATE_UNTRUSTED, /* none of the CAs in force issued it */
    REASON_REQUEST_UNKNOWN,       /* no such request for an approval, or it was answered */
    REASON_REQUEST_EXPIRED,
    REASON_ALREADY_APPROVED, /* by the same admin, with this key or another */

    /* Rule 1: candidate. */
    REASON_CANDIDATE_UNREACHABLE,
    REASON_CANDIDATE_NOT_PRIMARY,
    REASON_CANDIDATE_NOT_ONLINE,
    REASON_CANDIDATE_NOT_WRITABLE,
    REASON_CANDIDATE_NAME_MISMATCH,
    REASON_CANDIDATE_FORWARDER,
    REASON_CANDIDATE_NO_QUORUM,
    REASON_CLUSTER_TYPE_MISMATCH, /* the instance's cluster type is not that of the policy */
    /* Rule 2: session. */
    REASON_SESSION_NOT_FOUND,
    /* Rule 4: witnesses. */
    REASON_WITNESSES_MISSING,
    REASON_SEQUENCE_NOT_MAXIMUM,
    REASON_SILENCE_UNPROVEN, /* candidate+silence: the watch has not seen what the rule asks for */
    /* Rule 5: promotion. */
    REASON_GRANTED_TO_OTHER,  /* this epoch belongs to another replica */
    REASON_BASELINE_UNPROVEN, /* a rebaseline where a release would need an approval */

    /* needs_approval. */
    REASON_FORCED_QUORUM,
    REASON_CLUSTER_TYPE_NONE,
    REASON_RIVAL_PRIMARY,
    REASON_NO_BASELINE, /* escrowd has never known a primary of this group */
    REASON_RESTART,     /* the same primary, no promotion since the last grant or baseline */
    REASON_WINDOW_PASSED,
    REASON_RETRIES_EXHAUSTED,
    REASON_BRAKE,
    REASON_ECHO_MISSING, /* no other replica has read what the candidate committed */

    /* The member cannot act now. */
    REASON_STARTING,
    REASON_ROLE_DOWN, /* a role of escrowd restarts */
    REASON_TPM_UNAVAILABLE,
    REASON_TPM_REFUSED, /* the TPM refused: boot state, epoch counter or approval */
    REASON_NO_HOST_APPROVAL,
    REASON_NO_NODE_APPROVAL,
    REASON_LOG_UNAVAILABLE,
    REASON_STORE_UNAVAILABLE,
    REASON_CLOCK_BACKWARDS,
    REASON_NO_ROSTER,
    REASON_OVERLOADED,
    REASON_DEADLINE,
    REASON_INTERNAL,
    REASON_LOG_TAMPERED,   /* the log's chain is broken, or the store is ahead of it */
    REASON_MEMBER_UNKNOWN, /* this member's storage key is not in the roster */
    REASON_SHUTTING_DOWN,
    REASON_OWN_CERTIFICATE_EXPIRED,
    REASON_OWN_CERTIFICATE_EXPIRING, /* within 30 days */
    REASON_LOG_SPACE_LOW,
    REASON_PROBER_AWAY,    /* an instance has no prober now */
    REASON_CA_EXPIRING,    /* within 30 days, or has */
    REASON_FACTS_OLD,      /* what was decided rests on facts that are too old now */
    REASON_ROSTER_CHANGED, /* what was decided is by a roster that is not in force any more */
    REASON_ALERT_FAILED,   /* the last alert was not delivered */

    /* What the keeper finds out by itself: in records only, never in a reply. */
    REASON_GRANT_PROVED,       /* the master key opens by itself: the grant is settled */
    REASON_GRANT_DISPROVED,    /* the receipt says that it opens, the replica says that not */
    REASON_GRANT_UNPROVEN,     /* the receipt says that it opens, the replica could not be asked */
    REASON_RECEIPT_MISSING,    /* no receipt came for a grant */
    REASON_MASTER_KEY_CLOSED,  /* a primary's master key has stopped opening by itself */
    REASON_MEMBERSHIP_DIFFERS, /* the group has other replicas than the policy */
    REASON_MASTER_KEY_OPENS,   /* what was asked for is not needed any more */
    REASON_COUNT,
};

/* The stable word, "promotion_repeat". Never NULL. */
const char *reason_code(enum reason reason);
/* One English sentence that a reader at 3 a.m. can act on. Never NULL. */
const char *reason_text(enum reason reason);
/* The HTTP status of a reply with this reason (RFC 9110). */
int reason_http_status(enum reason reason);
/* The reason with this word; REASON_NONE if there is none. */
enum reason reason_from_code(const char *code);
