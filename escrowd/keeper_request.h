/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/ipc_messages.h"
#include "escrowd/turns.h"
#include "libescrow/act.h"
#include "libescrow/answer.h"
#include "libescrow/audit_record.h"
#include "libescrow/identity.h"

#include <event2/event.h>

#include <stdbool.h>
#include <sys/queue.h>

/*
 * One request of front's, from its arrival to its one reply. Its life is the switch in
 * request_advance; the handlers (one keeper_*.c a route) are its steps. What front says of the
 * channel is believed only so far: it names a source, an act proves an identity.
 */
struct keeper;
struct release;
struct tpm_job;

enum request_state {
    REQUEST_NEW = 1,
    REQUEST_HELD,      /* waits until its replicas may be asked (keeper_admission.h) */
    REQUEST_ASKING,    /* the replicas (release, rebaseline) */
    REQUEST_RECORDING, /* a record of it is on its way to the disk */
    REQUEST_QUEUED,    /* waits for its turn at the TPM */
    REQUEST_AT_TPM,    /* the TPM's thread has its job */
    REQUEST_WAITING,   /* for an order, or for admins */
    REQUEST_ANSWERED,
};

enum request_event {
    REQUEST_START = 1,
    REQUEST_FACTS,    /* a replica answered */
    REQUEST_DURABLE,  /* the record is on disk and folded, or could not be: durable_err */
    REQUEST_TURN,     /* it may begin, or the TPM is free for it */
    REQUEST_BACK,     /* its job is done */
    REQUEST_NEWS,     /* a new order, or an approval */
    REQUEST_DEADLINE, /* its timer went off */
    REQUEST_GONE,     /* nobody waits for the reply any more */
};

struct request {
    LIST_ENTRY(request) next;
    LIST_ENTRY(request) of_id, of_identity; /* in their buckets */
    struct keeper *keeper;
    uint64_t id; /* front's */
    enum route route;
    enum request_state state;
    struct event *timer;
    char identity[IDENTITY_MAX + 1];                 /* as front says */
    char certificate[2 * IPC_FINGERPRINT_BYTES + 1]; /* as front says */
    char *body;
    size_t body_len;
    uint64_t wait_ms, from, limit;

    /* Once the act is accepted. */
    struct act *act;
    struct tpm_name kid; /* of the act, or of the key that a challenge is for */

    /* Of its record. */
    LIST_ENTRY(request) of_recording; /* in REQUEST_RECORDING */
    enum escrow_err durable_err;
    uint64_t sequence;

    /* While it waits for its turn (keeper_admission.h, keeper_tpm.h). */
    struct turn turn;
    int64_t turn_by_ms; /* CLOCK_BOOTTIME */
    struct {
        LIST_ENTRY(request) next;
        int64_t asked_ms; /* CLOCK_BOOTTIME */
        bool is_taken;
    } place;             /* among the releases that are under way */
    struct tpm_job *job; /* the thread's while REQUEST_AT_TPM */

    struct release *release; /* ROUTE_RELEASE, ROUTE_REBASELINE */
    struct tpm_name object;  /* ROUTE_DEPOSIT */

    bool is_gone;
    unsigned depth; /* request_advance calls that are on the stack */
};
LIST_HEAD(request_list, request);

/* What is open, found by id and by identity without going through all: thousands may wait. */
#define REQUEST_BUCKETS 1024
struct request_table {
    struct request_list by_id[REQUEST_BUCKETS];
    struct request_list by_identity[REQUEST_BUCKETS];
    struct request_list recording; /* those in REQUEST_RECORDING */
    size_t count, bytes;           /* of all; bytes of their bodies */
};

/* IPC_REQUEST of front. ESCROW_ERR_MALFORMED: front must go. */
MUST_CHECK enum escrow_err request_new(struct keeper *keeper, uint64_t id,
                                       const struct ipc_request *message);
/* The life: whatever happens to a request happens here. It may be freed when this returns. */
void request_advance(struct request *request, enum request_event event);
/* The same for the request with this id, if it is still there. */
void request_gone(struct keeper *keeper, uint64_t id);
/* Front is gone: nobody waits for anything. */
void requests_gone(struct keeper *keeper);
/* An order was issued, or an approval given: all that wait look again. */
void requests_news(struct keeper *keeper);
/* Those of this identity are among these and what LIST_NEXT(..., of_identity) finds behind. */
struct request *requests_of(const struct keeper *keeper, const char *identity);
/* Frees what never will be answered; only when the keeper ends. */
void requests_drop(struct keeper *keeper);

/* The timer goes off after this time; it replaces an earlier deadline. */
void request_set_timer(struct request *request, int64_t after_ms);

/*
 * The replies; each answers the request, once. refuse: a problem with this reason, and a record or
 * a count of it (proved: an act of the identity was verified). fail: a problem without a record.
 * sign: the signed answer, its kid, aud and nonce filled here.
 */
void request_reply_json(struct request *request, unsigned http_status, const json_t *document);
void request_reply_text(struct request *request, enum ipc_content content, const char *text,
                        size_t len);
void request_fail(struct request *request, enum reason reason);
/* In place of a reply where memory lacks: an internal error, made beforehand. */
void request_sorry(struct keeper *keeper, uint64_t id);
void request_fail_detail(struct request *request, enum reason reason, const char *detail);
void request_refuse(struct request *request, enum reason reason);
void request_sign(struct request *request, struct answer *answer);
void request_note(struct request *request); /* signs that it is noted, with nothing to add */

/*
 * Queues the record of a request, which then waits for it in REQUEST_RECORDING. If the log does
 * not take it, the request is answered.
 */
void request_record(struct request *request, const struct audit_record *record);
/* A record with what is known of the request: keeper_record, channel, act, subject. */
void request_describe(const struct request *request, enum audit_event event,
                      struct audit_record *ret_record, char ret_kid[static TPM_NAME_HEX + 1]);

/* What the keeper must have to serve an act of this kind: enum keeper_need. */
unsigned request_needs(enum act_kind kind);
/*
 * The act in the body, if everything that does not depend on the act's kind is right: form,
 * signature by a roster key, the key's identity is the channel's, kind, audience, nonce, role, and
 * that the key covers the group. Fills act and kid. False: the request has been answered.
 */
MUST_CHECK bool request_accept(struct request *request, enum act_kind kind, enum roster_role role);
/* REASON_NONE if that act would still be accepted by the roster of now. */
enum reason request_recheck(const struct request *request, enum roster_role role);
/* For routes without an act: the channel's identity has this role (0: any) in the roster. */
MUST_CHECK bool request_has_role(struct request *request, unsigned roles);
#define REQUEST_ROLE(role) (1U << (role))

/*
 * The steps of each route: start, and what follows when the record is durable; where it waits to
 * begin or needs the TPM, what it does when its turn comes (or cannot come: admission_refuses,
 * keeper_tpm_refuses) and when its job is back.
 */
void challenge_start(struct request *request);
void deposit_start(struct request *request);
void deposit_turn(struct request *request);
void deposit_back(struct request *request);
void deposit_finish(struct request *request);
void release_start(struct request *request);
void release_admit(struct request *request);
void release_facts(struct request *request);
void release_finish(struct request *request);
void release_turn(struct request *request);
void release_back(struct request *request);
void release_free(struct release *release);
void receipt_start(struct request *request);
void receipt_finish(struct request *request);
void order_start(struct request *request);
void order_finish(struct request *request);
void orders_start(struct request *request);
void orders_look(struct request *request, bool is_last);
void approve_start(struct request *request);
void approve_finish(struct request *request);
void pending_start(struct request *request);
void pending_look(struct request *request, bool is_last);
void explain_start(struct request *request);
void rebaseline_start(struct request *request);
void rebaseline_facts(struct request *request);
void rebaseline_finish(struct request *request);
void publish_start(struct request *request);
void publish_finish(struct request *request);
void query_health(struct request *request);
void query_roster(struct request *request);
void query_secrets(struct request *request);
void query_status(struct request *request);
void query_audit(struct request *request);
