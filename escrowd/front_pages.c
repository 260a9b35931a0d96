/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_pages.h"

#include "escrowd/check.h"
#include "escrowd/front_monitor.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of a connection: the keeper's time, and as much to send the request and take the page. */
#define CONNECTION_MS (2 * PAGES_KEEPER_MS)

struct front_pages {
    struct front_pages_config config;
    struct front_monitor *monitor;
    struct event *late;
    struct check checks[CHECK_COUNT]; /* as last heard */
    char *metrics;                    /* of the keeper; NULL: it is silent */
    size_t metrics_len;
};

/* ---- what is said ---- */

static void check_certificate(const struct tls *tls, struct check *check)
{
    static const char *const words[] = {
        [TLS_ITEM_CERTIFICATE] = "", [TLS_ITEM_CA] = "CA: ", [TLS_ITEM_CRL] = "revocation list: "};
    struct tls_item item;
    bool is_served;
    enum reason reason = tls_check(tls, time(NULL), &item, &is_served);
    time_t end = (time_t)item.until_s;
    struct tm parts;
    char day[24];

    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&end, &parts));
    check_set(check,
              !is_served              ? CHECK_FAIL
              : reason == REASON_NONE ? CHECK_OK
                                      : CHECK_WARN,
              reason, "%s%s%s, not after %s", words[item.kind], item.serial[0] ? "serial " : "",
              item.serial[0] ? item.serial : item.name, day);
}

static int write_readiness(struct front_pages *pages, FILE *out)
{
    CLEANUP(json_free_p) json_t *document = NULL;

    check_certificate(*pages->config.tls, &pages->checks[CHECK_CERTIFICATE]);
    document = check_json(pages->checks);
    if (!document || json_dumpf(document, out, JSON_COMPACT) != 0)
        return 503;
    fputc('\n', out);
    return check_is_ready(pages->checks, CHECK_COUNT) ? 200 : 503;
}

static void write_checks(struct front_pages *pages, FILE *out)
{
    char labels[64];

    check_certificate(*pages->config.tls, &pages->checks[CHECK_CERTIFICATE]);
    metric_single(out, "ready", METRIC_GAUGE, "1 if no check fails: what /readyz says.",
                  check_is_ready(pages->checks, CHECK_COUNT));
    metric_family(out, "check_status", METRIC_GAUGE,
                  "Each check of /readyz: 0 ok, 1 warning, 2 failed, 3 unknown.");
    for (int i = 0; i < CHECK_COUNT; i++) {
        snprintf(labels, sizeof(labels), "check=\"%s\"", check_word((enum check_name)i));
        metric_number(out, "check_status", labels, pages->checks[i].status);
    }
}

static int write_metrics(struct front_pages *pages, FILE *out)
{
    struct tls_facts facts;

    tls_facts(*pages->config.tls, &facts);
    metric_family(out, "build_info", METRIC_GAUGE, "1; the version is in the label.");
    metric_number(out, "build_info", "version=\"" ESCROW_VERSION "\"", 1);
    write_checks(pages, out);
    usage_write(out, "front", &pages->config.usage);
    metric_single(out, "tls_certificate_not_after_timestamp_seconds", METRIC_GAUGE,
                  "Until when escrowd's own certificate is good.", facts.not_after);
    if (facts.crl_next_update)
        metric_single(out, "tls_crl_next_update_timestamp_seconds", METRIC_GAUGE,
                      "When the first of the revocation lists will be stale.",
                      facts.crl_next_update);
    front_metrics_write(out, pages->config.counts);
    metric_single(out, "keeper_up", METRIC_GAUGE, "1 if the keeper's metrics follow.",
                  pages->metrics != NULL);
    if (pages->metrics)
        fwrite(pages->metrics, 1, pages->metrics_len, out);
    return 200;
}

static int write_page(enum monitor_page page, FILE *out, void *argument)
{
    struct front_pages *pages = argument;

    switch (page) {
    case MONITOR_LIVEZ:
        fputs("{\"alive\":true}\n", out);
        return 200;
    case MONITOR_READYZ:
        return write_readiness(pages, out);
    case MONITOR_METRICS:
        return write_metrics(pages, out);
    }
    return 503;
}

/* ---- the keeper's part ---- */

static void forget_keeper(struct front_pages *pages, const char *why)
{
    for (size_t i = 0; i < CHECK_OF_KEEPER; i++)
        check_set(&pages->checks[i], CHECK_UNKNOWN, REASON_ROLE_DOWN, "the keeper does not say");
    check_set(&pages->checks[CHECK_KEEPER], CHECK_FAIL, REASON_ROLE_DOWN, "%s", why);
    free(pages->metrics);
    pages->metrics = NULL;
}

static void answer(struct front_pages *pages)
{
    event_del(pages->late);
    front_monitor_answer(pages->monitor);
}

static void on_late(evutil_socket_t fd, short events, void *argument)
{
    struct front_pages *pages = argument;

    (void)fd;
    (void)events;
    forget_keeper(pages, "it does not answer");
    answer(pages);
}

static void on_ask(void *argument)
{
    const struct timeval patience = {.tv_sec = PAGES_KEEPER_MS / 1000};
    struct front_pages *pages = argument;

    if (event_pending(pages->late, EV_TIMEOUT, NULL))
        return; /* asked by another connection */
    if (front_exchanges_observe(pages->config.exchanges) && event_add(pages->late, &patience) == 0)
        return;
    forget_keeper(pages, "it is away");
    answer(pages);
}

enum escrow_err front_pages_keeper(struct front_pages *pages, const struct ipc_message *message)
{
    const char *text = NULL;
    enum escrow_err err;

    if (!message) {
        forget_keeper(pages, "it is away");
        answer(pages);
        return ESCROW_OK;
    }
    err = ipc_get_observed(message, pages->checks, &text, &pages->metrics_len);
    if (err)
        return err;
    free(pages->metrics);
    pages->metrics = malloc(pages->metrics_len + 1);
    if (pages->metrics)
        memcpy(pages->metrics, text, pages->metrics_len);
    check_set(&pages->checks[CHECK_KEEPER], CHECK_OK, REASON_NONE, "answers");
    answer(pages);
    return ESCROW_OK;
}

enum escrow_err front_pages_new(const struct front_pages_config *config, int listener_fd,
                                struct front_pages **ret_pages)
{
    struct front_pages *pages = calloc(1, sizeof(*pages));
    const struct front_monitor_config monitor = {.base = config->base,
                                                 .deadline_ms = CONNECTION_MS,
                                                 .on_ask = on_ask,
                                                 .write_page = write_page,
                                                 .argument = pages};
    enum escrow_err err;

    if (!pages)
        return ESCROW_ERR_NO_MEMORY;
    pages->config = *config;
    pages->late = evtimer_new(config->base, on_late, pages);
    err = pages->late ? front_monitor_new(&monitor, listener_fd, &pages->monitor)
                      : ESCROW_ERR_NO_MEMORY;
    if (err) {
        front_pages_free(pages);
        return err;
    }
    forget_keeper(pages, "it is away");
    *ret_pages = pages;
    return ESCROW_OK;
}

void front_pages_free(struct front_pages *pages)
{
    if (!pages)
        return;
    front_monitor_free(pages->monitor);
    if (pages->late)
        event_free(pages->late);
    usage_deinit(&pages->config.usage);
    free(pages->metrics);
    free(pages);
}
