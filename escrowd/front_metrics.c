/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_metrics.h"

#include <stdio.h>

static const char *const routes[ROUTE_COUNT] = {
    [0] = "none",
    [ROUTE_HEALTH] = "health",
    [ROUTE_ROSTER] = "roster",
    [ROUTE_CHALLENGE] = "challenge",
    [ROUTE_DEPOSIT] = "deposit",
    [ROUTE_RELEASE] = "release",
    [ROUTE_RECEIPT] = "receipt",
    [ROUTE_ORDERS] = "orders",
    [ROUTE_ORDER] = "order",
    [ROUTE_PUBLISH] = "publish",
    [ROUTE_SECRETS] = "secrets",
    [ROUTE_STATUS] = "status",
    [ROUTE_AUDIT] = "audit",
    [ROUTE_APPROVE] = "approve",
    [ROUTE_REQUEST] = "request",
    [ROUTE_EXPLAIN] = "explain",
    [ROUTE_REBASELINE] = "rebaseline",
};

void front_counts_answer(struct front_counts *counts, enum route route, int status,
                         enum reason reason, int64_t began_us)
{
    int class = status / 100;

    counts->answers[route][class < FRONT_CLASSES ? class : 0]++;
    metric_observe(&counts->times[route], metric_now_us() - began_us);
    if (reason != REASON_NONE)
        counts->refusals[reason]++;
}

static void write_answers(FILE *out, const struct front_counts *counts)
{
    char labels[64];

    metric_family(out, "http_requests_total", METRIC_COUNTER,
                  "Requests of clients that were answered, by route and class of the status.");
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        for (int class = 2; class < FRONT_CLASSES; class ++) {
            if (class == 3) /* there is no such answer */
                continue;
            snprintf(labels, sizeof(labels), "route=\"%s\",status=\"%dxx\"", routes[i], class);
            metric_number(out, "http_requests_total", labels, (int64_t)counts->answers[i][class]);
        }
    }
    metric_family(out, "http_request_duration_seconds", METRIC_HISTOGRAM,
                  "From the request to its answer, by route.");
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        snprintf(labels, sizeof(labels), "route=\"%s\"", routes[i]);
        metric_times_write(out, "http_request_duration_seconds", labels, &counts->times[i]);
    }
}

static void write_refusals(FILE *out, const struct front_counts *counts)
{
    char labels[96];

    metric_family(out, "refusals_total", METRIC_COUNTER,
                  "Answers with a reason for not doing what was asked, by its code.");
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        /* The codes of grants are no refusals. */
        if (reason_http_status((enum reason)i) == 200)
            continue;
        snprintf(labels, sizeof(labels), "reason=\"%s\"", reason_code((enum reason)i));
        metric_number(out, "refusals_total", labels, (int64_t)counts->refusals[i]);
    }
}

void front_metrics_write(FILE *out, const struct front_counts *counts)
{
    write_answers(out, counts);
    write_refusals(out, counts);
    metric_single(out, "connections_accepted_total", METRIC_COUNTER,
                  "Connections of clients that were accepted.", (int64_t)counts->accepted);
    metric_single(out, "connections_open", METRIC_GAUGE, "Connections of clients.",
                  (int64_t)counts->open);
    metric_single(out, "connections_full_total", METRIC_COUNTER,
                  "How often limits.connections was reached: the next one has to wait.",
                  (int64_t)counts->full);
    metric_single(out, "tls_handshake_failures_total", METRIC_COUNTER,
                  "Connections that ended before their handshake did.",
                  (int64_t)counts->handshake_failures);
    metric_single(out, "keeper_connections_total", METRIC_COUNTER,
                  "Keepers that front was connected to: one more than restarts of the keeper.",
                  (int64_t)counts->keepers);
}
