/* SPDX-License-Identifier: Apache-2.0 */
/* The replies of keeper_request.h, and the records of refusals. */
#include "escrowd/clock.h"
#include "escrowd/ipc_body.h"
#include "escrowd/keeper_state.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "libescrow/rpc.h"

#include <string.h>

void request_sorry(struct keeper *keeper, uint64_t id)
{
    log_warning("a reply cannot be made or sent");
    if (ipc_channel_send(keeper->front, IPC_REPLY, id, &keeper->sorry))
        log_warning("front does not take a reply: its own deadline will answer");
}

static void send_reply(struct request *request, const struct ipc_reply *reply)
{
    static const struct ipc_reply too_large = {.reason = REASON_TOO_LARGE,
                                               .http_status = 413,
                                               .content = IPC_CONTENT_PROBLEM,
                                               .body = (const uint8_t *)""};

    request->state = REQUEST_ANSWERED;
    event_del(request->timer);
    if (request->is_gone || !request->keeper->front)
        return;
    if (ipc_send_reply(request->keeper->front, request->id,
                       reply->body_len <= IPC_LARGE_MAX ? reply : &too_large))
        request_sorry(request->keeper, request->id);
}

void request_reply_text(struct request *request, enum ipc_content content, const char *text,
                        size_t len)
{
    const struct ipc_reply reply = {
        .http_status = 200, .content = content, .body = (const uint8_t *)text, .body_len = len};

    send_reply(request, &reply);
}

void request_reply_json(struct request *request, unsigned http_status, const json_t *document)
{
    CLEANUP(cleanup_free) char *text = document ? json_text(document) : NULL;
    const struct ipc_reply reply = {.http_status = http_status,
                                    .retry_after_s = http_status == 503 ? 1 : 0,
                                    .content = IPC_CONTENT_JSON,
                                    .body = (const uint8_t *)text,
                                    .body_len = text ? strlen(text) : 0};

    if (!text)
        request_fail(request, REASON_INTERNAL);
    else
        send_reply(request, &reply);
}

void request_fail_detail(struct request *request, enum reason reason, const char *detail)
{
    unsigned status = (unsigned)reason_http_status(reason);
    const struct ipc_reply reply = {.reason = reason,
                                    .http_status = status,
                                    .retry_after_s = status == 503 ? 1 : 0,
                                    .content = IPC_CONTENT_PROBLEM,
                                    .body = (const uint8_t *)detail,
                                    .body_len = strlen(detail)};

    send_reply(request, &reply);
}

void request_fail(struct request *request, enum reason reason)
{
    request_fail_detail(request, reason, "");
}

void request_describe(const struct request *request, enum audit_event event,
                      struct audit_record *ret_record, char ret_kid[static TPM_NAME_HEX + 1])
{
    const struct act *act = request->act;

    keeper_record(request->keeper, event, ret_record);
    ret_record->actor = request->identity;
    ret_record->certificate = request->certificate;
    ret_record->auth = AUDIT_AUTH_CERTIFICATE;
    if (!act)
        return;
    hex_encode(request->kid.bytes, sizeof(request->kid.bytes), ret_kid);
    ret_record->auth = AUDIT_AUTH_ACT;
    ret_record->key = ret_kid;
    ret_record->act = act->compact;
    ret_record->purpose = act_purpose_word(act->purpose);
    if (act->subject.group[0]) {
        ret_record->group = act->subject.group;
        ret_record->database = act->subject.database;
    }
}

void request_refuse(struct request *request, enum reason reason)
{
    struct keeper *keeper = request->keeper;
    int64_t now_ms = clock_boot_ms();
    struct audit_record record;
    char kid[TPM_NAME_HEX + 1];

    if (request->act && refusals_may_record(keeper->refusals, request->identity, now_ms)) {
        request_describe(request, AUDIT_REFUSAL, &record, kid);
        /* Whoever is refused must not fill the log; what is taken is kept whole. */
        if (request->act->compact_len > IPC_BODY_MAX)
            record.act = NULL;
        record.decision = "deny";
        record.reason = reason_code(reason);
        if (keeper_append(keeper, &record, NULL, NULL))
            log_warning("a refusal could not be recorded");
    } else {
        refusals_count(keeper->refusals, &(struct refusal_summary){request->identity, reason, 1},
                       now_ms);
    }
    request_fail(request, reason);
}

void request_sign(struct request *request, struct answer *answer)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    CLEANUP(cleanup_free) char *body = NULL;

    answer->aud = request->kid;
    if (request->act)
        memcpy(answer->nonce, request->act->nonce, sizeof(answer->nonce));
    if (answer->kind != ANSWER_CHALLENGE)
        answer->sequence = request->sequence;
    if (answer_sign(answer, &request->keeper->answer_signer, &compact) == ESCROW_OK)
        body = rpc_wrap("answer", compact);
    if (body)
        request_reply_text(request, IPC_CONTENT_JSON, body, strlen(body));
    else
        request_fail(request, REASON_INTERNAL);
}

void request_note(struct request *request)
{
    CLEANUP(answer_free_p) struct answer *answer = answer_new(ANSWER_NOTED);

    if (answer)
        request_sign(request, answer);
    else
        request_fail(request, REASON_INTERNAL);
}
