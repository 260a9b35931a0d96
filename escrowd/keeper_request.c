/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_request.h"

#include "escrowd/keeper_admission.h"
#include "escrowd/keeper_state.h"
#include "escrowd/keeper_tpm.h"
#include "libescrow/encode.h"

#include <stdlib.h>
#include <string.h>

/*
 * What front may have open at once: in all (every one of them finds a place for its reply in the
 * channel's queue), for one identity as front gives it, and in bytes of bodies. An honest front
 * has limits of its own below these (escrowd.8).
 */
#define REQUESTS_MAX IPC_QUEUE_MESSAGES
#define REQUESTS_PER_IDENTITY 64
#define REQUESTS_BYTES ((size_t)8 * 1024 * 1024)

typedef void (*step_fn)(struct request *request);

/* What each route does first, after its record is durable, about the TPM, with what the replicas
 * say, when it may ask them, and while it waits. */
static const struct handler {
    step_fn start;
    step_fn finish;
    step_fn turn;
    step_fn back;
    step_fn facts;
    step_fn admit;
    void (*look)(struct request *request, bool is_last);
} handlers[ROUTE_COUNT] = {
    [ROUTE_HEALTH] = {.start = query_health},
    [ROUTE_ROSTER] = {.start = query_roster},
    [ROUTE_CHALLENGE] = {.start = challenge_start},
    [ROUTE_DEPOSIT] = {deposit_start, deposit_finish, deposit_turn, deposit_back},
    [ROUTE_RELEASE] = {release_start, release_finish, release_turn, release_back, release_facts,
                       release_admit},
    [ROUTE_RECEIPT] = {.start = receipt_start, .finish = receipt_finish},
    [ROUTE_ORDERS] = {.start = orders_start, .look = orders_look},
    [ROUTE_ORDER] = {.start = order_start, .finish = order_finish},
    [ROUTE_PUBLISH] = {.start = publish_start, .finish = publish_finish},
    [ROUTE_SECRETS] = {.start = query_secrets},
    [ROUTE_STATUS] = {.start = query_status},
    [ROUTE_AUDIT] = {.start = query_audit},
    [ROUTE_APPROVE] = {.start = approve_start, .finish = approve_finish},
    [ROUTE_REQUEST] = {.start = pending_start, .look = pending_look},
    [ROUTE_EXPLAIN] = {.start = explain_start},
    [ROUTE_REBASELINE] = {.start = rebaseline_start,
                          .finish = rebaseline_finish,
                          .facts = rebaseline_facts},
};

static struct request_list *id_bucket(struct keeper *keeper, uint64_t id)
{
    return &keeper->request_table.by_id[id % REQUEST_BUCKETS];
}

/* FNV-1a. Whoever chooses identities for one bucket makes a list of it, no longer than all are. */
static size_t identity_bucket(const char *identity)
{
    uint32_t hash = 2166136261U;

    for (; *identity; identity++)
        hash = (hash ^ (uint8_t)*identity) * 16777619U;
    return hash % REQUEST_BUCKETS;
}

struct request *requests_of(const struct keeper *keeper, const char *identity)
{
    return LIST_FIRST(&keeper->request_table.by_identity[identity_bucket(identity)]);
}

static void enter(struct request *request)
{
    struct request_table *table = &request->keeper->request_table;

    LIST_INSERT_HEAD(&request->keeper->requests, request, next);
    LIST_INSERT_HEAD(id_bucket(request->keeper, request->id), request, of_id);
    LIST_INSERT_HEAD(&table->by_identity[identity_bucket(request->identity)], request, of_identity);
    table->count++;
    table->bytes += request->body_len;
}

static void leave(struct request *request)
{
    struct request_table *table = &request->keeper->request_table;

    LIST_REMOVE(request, next);
    LIST_REMOVE(request, of_id);
    LIST_REMOVE(request, of_identity);
    table->count--;
    table->bytes -= request->body_len;
}

static void request_free(struct request *request)
{
    leave(request);
    if (request->state == REQUEST_RECORDING)
        LIST_REMOVE(request, of_recording);
    admission_end(request);
    /* A keeper that is to stop does so after its last request. */
    if (request->keeper->is_stopping)
        event_active(request->keeper->flush, EV_TIMEOUT, 0);
    event_free(request->timer);
    if (request->release)
        release_free(request->release);
    if (request->act)
        act_free(request->act);
    free(request->job);
    free(request->body);
    free(request);
}

static void finish(struct request *request)
{
    if (request->durable_err)
        request_fail(request, keeper_lacks(request->keeper, KEEPER_NEEDS_LOG)
                                  ? keeper_lacks(request->keeper, KEEPER_NEEDS_LOG)
                                  : REASON_LOG_UNAVAILABLE);
    else
        handlers[request->route].finish(request);
}

void request_advance(struct request *request, enum request_event event)
{
    request->depth++;
    if (event == REQUEST_GONE)
        request->is_gone = true;
    switch (request->state) {
    case REQUEST_NEW:
        handlers[request->route].start(request);
        break;
    case REQUEST_HELD:
        /* Its turn, or the end of its waiting: the step sees which. */
        admission_leave(request);
        handlers[request->route].admit(request);
        break;
    case REQUEST_ASKING:
        if (event == REQUEST_GONE)
            request->state = REQUEST_ANSWERED;
        else if (event == REQUEST_FACTS)
            request_set_timer(request, 0); /* answers that are there already are decided on too */
        else
            handlers[request->route].facts(request);
        break;
    case REQUEST_RECORDING:
        /* The record is somewhere between queue and disk: whatever else happens waits for it. */
        if (event == REQUEST_DURABLE)
            finish(request);
        break;
    case REQUEST_QUEUED:
        /* Who was not waited for may answer now: that is no turn. */
        if (event == REQUEST_FACTS)
            break;
        /* Its turn, or the end of its waiting: the step sees which. */
        keeper_tpm_leave(request);
        handlers[request->route].turn(request);
        break;
    case REQUEST_AT_TPM:
        if (event == REQUEST_BACK)
            handlers[request->route].back(request);
        break;
    case REQUEST_WAITING:
        if (event == REQUEST_GONE)
            request->state = REQUEST_ANSWERED;
        else
            handlers[request->route].look(request, event == REQUEST_DEADLINE);
        break;
    case REQUEST_ANSWERED:
        break;
    }
    request->depth--;
    if (request->state == REQUEST_ANSWERED && request->depth == 0)
        request_free(request);
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    request_advance(argument, REQUEST_DEADLINE);
}

void request_set_timer(struct request *request, int64_t after_ms)
{
    int64_t wait_ms = after_ms > 0 ? after_ms : 0;
    const struct timeval wait = {wait_ms / 1000, (wait_ms % 1000) * 1000};

    /* Without its timer it might wait for ever. */
    if (event_add(request->timer, &wait) < 0)
        request_fail(request, REASON_INTERNAL);
}

/* A copy of what front said; its message does not outlive the handler. */
static struct request *copy_request(struct keeper *keeper, uint64_t id,
                                    const struct ipc_request *message)
{
    struct request *request = calloc(1, sizeof(*request));

    if (!request)
        return NULL;
    request->keeper = keeper;
    request->id = id;
    request->route = message->route;
    request->state = REQUEST_NEW;
    memcpy(request->identity, message->identity, strlen(message->identity) + 1);
    hex_encode(message->fingerprint, sizeof(message->fingerprint), request->certificate);
    request->wait_ms = message->wait_ms;
    request->from = message->from;
    request->limit = message->limit;
    request->body = malloc(message->body_len + 1);
    request->timer = evtimer_new(keeper->base, on_timer, request);
    if (!request->body || !request->timer) {
        free(request->body);
        if (request->timer)
            event_free(request->timer);
        free(request);
        return NULL;
    }
    memcpy(request->body, message->body, message->body_len);
    request->body[message->body_len] = '\0';
    request->body_len = message->body_len;
    return request;
}

/* With this one, which is in the table, there are too many. */
static bool is_too_much(const struct request *request)
{
    const struct request_table *table = &request->keeper->request_table;
    const struct request *other = requests_of(request->keeper, request->identity);
    size_t of_identity = 0;

    for (; other; other = LIST_NEXT(other, of_identity))
        of_identity += strcmp(other->identity, request->identity) == 0;
    return table->count > REQUESTS_MAX || of_identity > REQUESTS_PER_IDENTITY ||
           table->bytes > REQUESTS_BYTES;
}

enum escrow_err request_new(struct keeper *keeper, uint64_t id, const struct ipc_request *message)
{
    struct request *request;

    /* No certificate with another identity passes front's check (tls_peer.c). */
    if (!identity_is_valid(message->identity))
        return ESCROW_ERR_MALFORMED;
    request = copy_request(keeper, id, message);
    if (!request) {
        request_sorry(keeper, id);
        return ESCROW_OK;
    }
    enter(request);
    request->depth++;
    if (keeper->is_stopping)
        request_fail(request, REASON_SHUTTING_DOWN);
    else if (is_too_much(request))
        request_fail(request, REASON_OVERLOADED);
    request->depth--;
    request_advance(request, REQUEST_START);
    return ESCROW_OK;
}

void request_gone(struct keeper *keeper, uint64_t id)
{
    struct request *request = LIST_FIRST(id_bucket(keeper, id));

    while (request && (request->id != id || request->is_gone))
        request = LIST_NEXT(request, of_id);
    if (request)
        request_advance(request, REQUEST_GONE);
}

/* Tells every request that is in one of these states; the list may lose what is told. */
static void tell_all(struct keeper *keeper, enum request_event event)
{
    struct request *request = LIST_FIRST(&keeper->requests), *next;

    for (; request; request = next) {
        next = LIST_NEXT(request, next);
        if (event == REQUEST_GONE || request->state == REQUEST_WAITING)
            request_advance(request, event);
    }
}

void requests_gone(struct keeper *keeper)
{
    tell_all(keeper, REQUEST_GONE);
}

void requests_news(struct keeper *keeper)
{
    tell_all(keeper, REQUEST_NEWS);
}

void requests_drop(struct keeper *keeper)
{
    while (!LIST_EMPTY(&keeper->requests))
        request_free(LIST_FIRST(&keeper->requests));
}

static void on_durable(enum escrow_err err, uint64_t sequence, void *argument)
{
    struct request *request = argument;

    LIST_REMOVE(request, of_recording);
    request->durable_err = err;
    request->sequence = sequence;
    request_advance(request, REQUEST_DURABLE);
}

void request_record(struct request *request, const struct audit_record *record)
{
    enum escrow_err err = keeper_append(request->keeper, record, on_durable, request);

    if (err) {
        request_fail(request, err == ESCROW_ERR_STORE ? REASON_LOG_UNAVAILABLE : REASON_INTERNAL);
        return;
    }
    request->state = REQUEST_RECORDING;
    LIST_INSERT_HEAD(&request->keeper->request_table.recording, request, of_recording);
}
