/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/ipc.h"
#include "libescrow/reason.h"
#include "libescrow/tls.h"

/*
 * What the roles of escrowd say to each other. A number belongs to one pair of roles, so a message
 * on the wrong channel is never permitted there. Between keeper and prober: libescrow/ipc_probe.h.
 */

/* Supervisor and every role. */
enum ipc_supervisor_type {
    IPC_PEER = 0x001,     /* to a role: kind, instance; the descriptor is the channel to it */
    IPC_PING = 0x002,     /* to all but probers; they answer IPC_PONG with its id */
    IPC_SHUTDOWN = 0x003, /* to all but probers: finish what is in flight, then exit 0 */
    IPC_RELOAD = 0x004,   /* to front: the descriptor is a copy of new credentials */

    IPC_READY = 0x010,        /* from a role: port (front; 0 of others) */
    IPC_PONG = 0x011,         /* from all but probers */
    IPC_RESTART_ROLE = 0x012, /* from the keeper: kind, instance of a peer to kill */
    IPC_STATUS = 0x013,       /* from the keeper: one line for the service manager */
    IPC_RELOADED = 0x014,     /* from front, to each RELOAD: whether they are in use now */
};

enum ipc_peer_kind { IPC_PEER_KEEPER = 1, IPC_PEER_FRONT, IPC_PEER_PROBER, IPC_PEER_ALERTER };
#define IPC_PEER_LAST IPC_PEER_ALERTER

#define IPC_INSTANCE_MAX 64 /* bytes of an instance name */
#define IPC_STATUS_MAX 256  /* bytes of a status line */

/* Front and keeper: one REQUEST, one REPLY with its id, or none if the keeper dies. */
enum ipc_front_type {
    IPC_REQUEST = 0x100,
    IPC_REPLY = 0x101,
    IPC_GONE = 0x102,     /* to the keeper: nobody waits for the reply to this id any more */
    IPC_REFUSED = 0x103,  /* to the keeper: what front refused by itself */
    IPC_OBSERVE = 0x104,  /* to the keeper: how are you? One at a time */
    IPC_OBSERVED = 0x105, /* its answer: check.h */
    IPC_SERVED = 0x106,   /* to the keeper: what front serves with, whenever that has changed */
    IPC_REQUEST_LARGE = 0x107, /* a PUBLISH whose body is longer than IPC_BODY_MAX: ipc_body.h */
    IPC_REPLY_LARGE = 0x108,   /* a REPLY with such a body */
};

enum route {
    ROUTE_HEALTH = 1, /* GET /v1/health */
    ROUTE_ROSTER,     /* GET /v1/roster */
    ROUTE_CHALLENGE,  /* POST /v1/challenge */
    ROUTE_DEPOSIT,    /* POST /v1/deposit */
    ROUTE_RELEASE,    /* POST /v1/release */
    ROUTE_RECEIPT,    /* POST /v1/receipt */
    ROUTE_ORDERS,     /* GET /v1/orders?wait=SECONDS */
    ROUTE_ORDER,      /* POST /v1/orders */
    ROUTE_PUBLISH,    /* POST /v1/publish */
    ROUTE_SECRETS,    /* GET /v1/secrets */
    ROUTE_STATUS,     /* GET /v1/status */
    ROUTE_AUDIT,      /* GET /v1/audit?from=SEQUENCE&limit=N */
    ROUTE_APPROVE,    /* POST /v1/approve */
    ROUTE_REQUEST,    /* GET /v1/requests?number=N&wait=SECONDS */
    ROUTE_EXPLAIN,    /* GET /v1/explain?target=N */
    ROUTE_REBASELINE, /* POST /v1/rebaseline */
    ROUTE_COUNT,
};

#define IPC_IDENTITY_MAX 255 /* bytes of a SAN URI: IDENTITY_MAX of identity.h */
#define IPC_FINGERPRINT_BYTES 32
#define IPC_BODY_MAX ((size_t)192 * 1024)       /* in one message */
#define IPC_LARGE_MAX ((size_t)4 * 1024 * 1024) /* in a message and a descriptor */

/* A release may wait so long for its turn (keeper_admission.h): front waits so much longer for it.
 */
#define IPC_RELEASE_WAIT_MS 20000

/* Everything that front knows of a request; identity and body are borrowed from the message. */
struct ipc_request {
    enum route route;
    const char *identity; /* SAN URI of the client certificate, verified for this request */
    uint8_t fingerprint[IPC_FINGERPRINT_BYTES]; /* SHA-256 of the client certificate */
    uint64_t wait_ms;    /* ROUTE_ORDERS, ROUTE_REQUEST: answer in this time; IPC_RELEASE_WAIT_MS */
    uint64_t from;       /* ROUTE_AUDIT: first sequence number; ROUTE_REQUEST, EXPLAIN */
    uint64_t limit;      /* ROUTE_AUDIT: at most so many records */
    const uint8_t *body; /* JSON as sent, not looked at by front */
    size_t body_len;
};

enum ipc_content {
    IPC_CONTENT_JSON = 1, /* application/json: body is the reply */
    IPC_CONTENT_PROBLEM,  /* front writes problem+json of reason; body is its "detail", may be "" */
    IPC_CONTENT_LINES,    /* application/x-ndjson: audit records */
};

struct ipc_reply {
    enum reason reason;     /* REASON_NONE on plain success */
    uint32_t http_status;   /* 200 ..= 599 */
    uint32_t retry_after_s; /* 0: no Retry-After */
    enum ipc_content content;
    const uint8_t *body; /* borrowed */
    size_t body_len;
};

/* Refusals of front's own since the last such message; identity is borrowed. */
struct ipc_refused {
    const char *identity; /* "" where no certificate was verified */
    enum reason reason;
    uint32_t count; /* 1 and more */
};

/* Each puts a whole payload; what fails shows when it is sent (ipc.h). */
void ipc_put_request(struct ipc_writer *writer, const struct ipc_request *request);
void ipc_put_reply(struct ipc_writer *writer, const struct ipc_reply *reply);
/*
 * Each reads a whole payload, and borrows from the message. ESCROW_ERR_MALFORMED if it is not
 * exactly one.
 */
MUST_CHECK enum escrow_err ipc_get_request(const struct ipc_message *message,
                                           struct ipc_request *ret_request);
MUST_CHECK enum escrow_err ipc_get_reply(const struct ipc_message *message,
                                         struct ipc_reply *ret_reply);

void ipc_put_refused(struct ipc_writer *writer, const struct ipc_refused *refused);
MUST_CHECK enum escrow_err ipc_get_refused(const struct ipc_message *message,
                                           struct ipc_refused *ret_refused);

/* IPC_SERVED: front's own certificate first, then CAs, then lists. */
struct ipc_served {
    int64_t loaded_ms; /* Unix time */
    size_t count;      /* 1 ..= TLS_ITEMS_MAX */
    struct tls_item items[TLS_ITEMS_MAX];
};

void ipc_put_served(struct ipc_writer *writer, const struct ipc_served *served);
/* Every text is printable ASCII, every time one that can be written (years 1970 to 9999). */
MUST_CHECK enum escrow_err ipc_get_served(const struct ipc_message *message,
                                          struct ipc_served *ret_served);

/* IPC_PEER: who is at the other end of the passed descriptor; instance is "" unless a prober. */
struct ipc_peer {
    enum ipc_peer_kind kind;
    const char *instance;
};

void ipc_put_peer(struct ipc_writer *writer, const struct ipc_peer *peer);
MUST_CHECK enum escrow_err ipc_get_peer(const struct ipc_message *message,
                                        struct ipc_peer *ret_peer);

/* Keeper and alerter: one ALERT, one ALERT_DONE with its id; the next ALERT comes after it. */
enum ipc_alert_type {
    IPC_ALERT = 0x300,      /* to the alerter: the text for the command (alert.h) */
    IPC_ALERT_DONE = 0x301, /* to the keeper: what became of it */
};

enum ipc_alert_outcome {
    IPC_ALERT_FAILED = 1,  /* number: the status with which the command ended */
    IPC_ALERT_KILLED,      /* number: the signal */
    IPC_ALERT_TIMED_OUT,   /* it was killed at its deadline */
    IPC_ALERT_NOT_STARTED, /* the alerter's log says why */
    IPC_ALERT_DELIVERED,   /* it ended with status 0 */
};

struct ipc_alert_done {
    enum ipc_alert_outcome outcome;
    uint32_t number; /* 0 ..= 255 */
};

void ipc_put_alert_done(struct ipc_writer *writer, const struct ipc_alert_done *done);
MUST_CHECK enum escrow_err ipc_get_alert_done(const struct ipc_message *message,
                                              struct ipc_alert_done *ret_done);
