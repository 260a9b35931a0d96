/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One record of the audit log: the line that holds it and the chain that binds
 * it to the line before. A line is one JSON object, compact, members sorted, ended by a newline.
 * Every record has every member of struct audit_record, null where there is nothing to say, so that
 * two records can be compared and a missing fact is visible as one, and "v": 1, so that a log can
 * go on in another form. Pure: opens no file, never decides what a record means.
 */

#define AUDIT_HASH_BYTES 32
#define AUDIT_LINE_MAX (4 * 1024 * 1024) /* bytes with the newline */

enum audit_event {
    AUDIT_START = 1,  /* the keeper is about to serve; detail: version, member */
    AUDIT_SHUTDOWN,   /* the keeper ends as told */
    AUDIT_PUBLISH,    /* a roster or approvals were taken over: act */
    AUDIT_DEPOSIT,    /* a version is held: act has its blobs, detail.state its state */
    AUDIT_RELEASE,    /* a decision about a release: decision, reason, facts; ALLOW is the grant */
    AUDIT_UNFINISHED, /* after a grant the TPM or a re-check stopped it: grant, reason */
    AUDIT_RECEIPT,    /* an agent's receipt for a grant: grant, detail */
    AUDIT_ORDER,      /* an order was issued: order, purpose, detail.expires_ms */
    AUDIT_EPOCH,      /* the group's primary as escrowd now knows it: epoch, replica, detail */
    AUDIT_REFUSAL,    /* an act that was refused before a decision: reason */
    AUDIT_UNPROVED,   /* refusals without a proved identity: detail.count per source and minute */
    AUDIT_ALERT,      /* something that a person should look at: reason, detail */
    AUDIT_LOG_TORN,   /* an incomplete last line was cut at start: detail.bytes */
    AUDIT_LOG_BACK,   /* the log can be written again: detail.error */
    AUDIT_APPROVE,    /* an admin approved a request: act, detail.request */
    AUDIT_EXPIRED,    /* a request's time was over before enough had: detail.request */
    AUDIT_SETTLE, /* what became of a grant, as the replica itself says: grant, reason, detail */
    AUDIT_REBASELINE, /* an admin's rebaseline: act, decision, reason, facts; ALLOW: an epoch */
    AUDIT_REPEATED,   /* denials like that of record detail.record, without one: detail.count */
    AUDIT_EVENT_COUNT,
};

enum audit_auth { AUDIT_AUTH_NONE, AUDIT_AUTH_CERTIFICATE, AUDIT_AUTH_ACT };

/*
 * Texts and JSON values are borrowed. NULL or 0 stands for null, except where said. The first three
 * members are the log's to fill.
 */
struct audit_record {
    uint64_t sequence; /* 1, 2, 3, ... */
    int64_t time_ms;   /* wall clock, Unix time in ms, UTC */
    uint8_t previous[AUDIT_HASH_BYTES];
    bool has_tpm_clock; /* false: tpm_clock and reset_count are null */
    uint64_t tpm_clock; /* TPMS_CLOCK_INFO.clock, ms */
    uint64_t reset_count;
    enum audit_event event;
    enum audit_auth auth;
    const char *actor;       /* identity, a SAN URI */
    const char *key;         /* hex Name of the act key */
    const char *certificate; /* hex SHA-256 fingerprint of the channel's certificate */
    const char *act;         /* the signed act, compact */
    const char *group;
    const char *database; /* with group: the secret */
    const char *replica;
    json_t *versions; /* array of numbers, as objects */
    json_t *objects;  /* array of hex Names */
    const char *purpose;
    uint64_t epoch;
    const char *decision;
    const char *reason; /* a code of reason.h */
    const char *rules;  /* hex SHA-256 of the policy in force */
    uint64_t roster;    /* version of the roster in force */
    json_t *facts;      /* object: everything that the decision rested on */
    const char *order;
    uint64_t grant;   /* sequence of the grant that this record is about */
    json_t *detail;   /* object, by event */
    json_t *document; /* of a parsed record: owns all of the above */
};

/* Of a parsed record: frees its document. */
void audit_record_deinit(struct audit_record *record);

/* The line of a record, with its newline, owned by the caller. ESCROW_ERR_MALFORMED if a text is
 * not UTF-8 or the line is longer than AUDIT_LINE_MAX. */
MUST_CHECK enum escrow_err audit_record_encode(const struct audit_record *record, char **ret_line,
                                               size_t *ret_len);
/*
 * Parses a line of len bytes. ESCROW_ERR_MALFORMED unless it is exactly what audit_record_encode
 * writes for some record; ESCROW_ERR_NO_MEMORY. audit_record_deinit frees what *ret_record holds.
 */
MUST_CHECK enum escrow_err audit_record_parse(const char *line, size_t len,
                                              struct audit_record *ret_record);

/* The end of a chain of records. All zero: before the first record. */
struct audit_chain {
    uint64_t sequence;              /* of the last record; 0: none */
    uint8_t hash[AUDIT_HASH_BYTES]; /* SHA-256 of its line with the newline */
    int64_t time_ms;                /* the latest of all records */
};

enum audit_fault {
    AUDIT_FAULT_NONE,
    AUDIT_FAULT_FORM,      /* not the line of a record */
    AUDIT_FAULT_SEQUENCE,  /* a record is missing, doubled or moved */
    AUDIT_FAULT_CHAIN,     /* the line before is not the one that this record was written after */
    AUDIT_FAULT_UNCHECKED, /* memory or OpenSSL failed: nothing is said about the line */
};

/*
 * Checks that the line is the next of the chain and moves the chain to it. On a fault neither
 * *chain nor *ret_record changes.
 */
MUST_CHECK enum audit_fault audit_chain_next(struct audit_chain *chain, const char *line,
                                             size_t len, struct audit_record *ret_record);
/*
 * For a reading that starts in the middle: believes the line about the hash of the one before it,
 * whose sequence the caller has set. What is no record leaves the chain as it is. ESCROW_OK, or
 * ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err audit_chain_anchor(struct audit_chain *chain, const char *line,
                                              size_t len);
/* Moves the chain over a line that audit_record_encode made for record. */
MUST_CHECK enum escrow_err audit_chain_advance(struct audit_chain *chain,
                                               const struct audit_record *record, const char *line,
                                               size_t len);

/* "start", "log_torn"; "unknown". Never NULL. */
const char *audit_event_word(enum audit_event event);
/* "form", "sequence", "chain", "unchecked"; "none". */
const char *audit_fault_word(enum audit_fault fault);

#define AUDIT_TIME_TEXT 25 /* 2024-02-29T23:59:59.999Z and NUL */
/* RFC 3339 in UTC with milliseconds, and back (that form only). */
void audit_time_format(int64_t time_ms, char ret_text[static AUDIT_TIME_TEXT]);
MUST_CHECK enum escrow_err audit_time_parse(const char *text, int64_t *ret_time_ms);
