/* SPDX-License-Identifier: Apache-2.0 */
/* Which records and checks are alerts, what an alert says, and which one is next. */
#include "escrowd/alert.h"
#include "escrowd/alert_queue.h"
#include "escrowd/clock.h"
#include "escrowd/ipc_messages.h"
#include "escrowd/keeper_alerts.h"
#include "libescrow/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TIME_MS 1767225600123 /* 2026-01-01T00:00:00.123Z */

/* ---- records ---- */

/* What the sources say of each event and decision; an event that is not here is no alert. */
static const struct {
    enum audit_event on;
    enum reason reason;
    const char *decision, *purpose, *outcome, *event, *next;
} rows[] = {
    {AUDIT_RELEASE, REASON_RIVAL_PRIMARY, "needs_approval", "promote", NULL, "needs_approval",
     "escrowctl pending"},
    {AUDIT_RELEASE, REASON_RIVAL_PRIMARY, "needs_approval", "drill", NULL, "needs_approval",
     "escrowctl pending"},
    {AUDIT_RELEASE, REASON_SESSION_NOT_FOUND, "deny", "promote", NULL, "refused",
     "escrowctl audit explain 77"},
    {AUDIT_RELEASE, REASON_SESSION_NOT_FOUND, "deny", "drill", NULL, "drill_failed",
     "escrowctl audit explain 77"},
    {AUDIT_RELEASE, REASON_PROMOTION, "allow", "promote", NULL, NULL, NULL},
    {AUDIT_REFUSAL, REASON_NONCE_INVALID, "deny", "promote", NULL, "refused",
     "escrowctl audit show --from 77"},
    {AUDIT_UNPROVED, REASON_NOT_TLS, NULL, NULL, NULL, NULL, NULL},
    {AUDIT_REPEATED, REASON_SESSION_NOT_FOUND, "deny", "promote", NULL, NULL, NULL},
    {AUDIT_UNFINISHED, REASON_TPM_REFUSED, NULL, "promote", NULL, "unfinished",
     "escrowctl audit show --from 77"},
    {AUDIT_RECEIPT, REASON_NONE, NULL, "promote", "failed", "grant_unsettled",
     "escrowctl audit show --from 77"},
    {AUDIT_RECEIPT, REASON_NONE, NULL, "drill", "failed", "drill_failed",
     "escrowctl audit show --from 77"},
    {AUDIT_RECEIPT, REASON_NONE, NULL, "promote", "opened", NULL, NULL},
    {AUDIT_RECEIPT, REASON_NONE, NULL, "drill", "already_open", NULL, NULL},
    {AUDIT_ALERT, REASON_CANDIDATE_SILENCE, NULL, NULL, NULL, "candidate_silence",
     "escrowctl audit explain 55"},
    {AUDIT_ALERT, REASON_OWN_CERTIFICATE_EXPIRED, NULL, NULL, NULL, "certificate",
     "escrowctl status"},
    {AUDIT_ALERT, REASON_OWN_CERTIFICATE_EXPIRING, NULL, NULL, NULL, "certificate",
     "escrowctl status"},
    {AUDIT_ALERT, REASON_CA_EXPIRING, NULL, NULL, NULL, "certificate", "escrowctl status"},
    {AUDIT_ALERT, REASON_CRL_STALE, NULL, NULL, NULL, "certificate", "escrowctl status"},
    {AUDIT_REBASELINE, REASON_REBASELINED, "allow", "rebaseline", NULL, "rebaseline",
     "escrowctl audit show --from 77"},
    {AUDIT_REBASELINE, REASON_CANDIDATE_NOT_PRIMARY, "deny", "rebaseline", NULL, "refused",
     "escrowctl audit show --from 77"},
    {AUDIT_SETTLE, REASON_GRANT_PROVED, NULL, NULL, NULL, NULL, NULL},
    {AUDIT_SETTLE, REASON_GRANT_DISPROVED, NULL, NULL, NULL, "grant_unsettled",
     "escrowctl audit show --from 55"},
    {AUDIT_SETTLE, REASON_GRANT_UNPROVEN, NULL, NULL, NULL, "grant_unsettled",
     "escrowctl audit show --from 55"},
    {AUDIT_SETTLE, REASON_RECEIPT_MISSING, NULL, NULL, NULL, "grant_unsettled",
     "escrowctl audit show --from 55"},
    {AUDIT_ALERT, REASON_MASTER_KEY_CLOSED, NULL, NULL, NULL, "master_key_closed",
     "escrowctl status"},
    {AUDIT_ALERT, REASON_MEMBERSHIP_DIFFERS, NULL, NULL, NULL, "membership_differs",
     "escrowctl status"},
    /* any other is one too, by the code of its reason */
    {AUDIT_ALERT, REASON_OVERLOADED, NULL, NULL, NULL, "overloaded",
     "escrowctl audit show --from 77"},
    {AUDIT_LOG_TORN, REASON_NONE, NULL, NULL, NULL, "log_trouble",
     "escrowctl audit show --from 77"},
    {AUDIT_LOG_BACK, REASON_NONE, NULL, NULL, NULL, "log_back", "escrowctl audit show --from 77"},
};

static struct audit_record record_of(size_t row, json_t *detail)
{
    return (struct audit_record){
        .event = rows[row].on,
        .sequence = 77,
        .grant = 55,
        .time_ms = TIME_MS,
        .decision = rows[row].decision,
        .purpose = rows[row].purpose,
        .reason = rows[row].reason ? reason_code(rows[row].reason) : NULL,
        .detail = detail,
        .group = "ssis",
        .database = "SSISDB",
        .replica = "node-a",
        .actor = "spiffe://test/agent/a",
        .act = "the.signed.act",
        .certificate = "the fingerprint",
        .key = "the key",
        .epoch = 4,
    };
}

static void test_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(json_free_p)
        json_t *detail = rows[i].outcome ? json_pack("{s:s}", "outcome", rows[i].outcome) : NULL;
        const struct audit_record record = record_of(i, detail);
        struct alert alert = {0};

        if (alert_of_record(&record, &alert) != (rows[i].event != NULL))
            fail_msg("row %zu: %s", i, alert.event ? alert.event : "no alert");
        if (!rows[i].event)
            continue;
        assert_string_equal(alert.event, rows[i].event);
        assert_string_equal(alert.next, rows[i].next);
        if (rows[i].reason)
            assert_non_null(strstr(alert.text, reason_text(rows[i].reason)));
        assert_true(strlen(alert.text) > 20);
    }
}

/* Who adds an event decides here whether it is an alert. */
static void test_every_event_is_in_the_table(void **state)
{
    static const enum audit_event quiet[] = {AUDIT_START,   AUDIT_SHUTDOWN, AUDIT_PUBLISH,
                                             AUDIT_DEPOSIT, AUDIT_ORDER,    AUDIT_EPOCH,
                                             AUDIT_APPROVE, AUDIT_EXPIRED};

    (void)state;
    for (int event = AUDIT_START; event < AUDIT_EVENT_COUNT; event++) {
        const struct audit_record record = {.event = (enum audit_event)event};
        bool is_known = false, is_quiet = false;
        struct alert alert;

        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            is_known |= rows[i].on == record.event;
        for (size_t i = 0; i < ARRAY_LEN(quiet); i++)
            is_quiet |= quiet[i] == record.event;
        if (is_known == is_quiet)
            fail_msg("%s is alert and no alert, or neither", audit_event_word(record.event));
        if (is_quiet)
            assert_false(alert_of_record(&record, &alert));
    }
}

static void test_an_item_is_named(void **state)
{
    CLEANUP(json_free_p)
    json_t *detail = json_pack("{s:s, s:s, s:s}", "what", "certificate", "name", "escrow1", "until",
                               "2026-02-01T00:00:00.000Z");
    const struct audit_record record = {.event = AUDIT_ALERT,
                                        .reason = reason_code(REASON_OWN_CERTIFICATE_EXPIRING),
                                        .detail = detail};
    struct alert alert;

    (void)state;
    assert_true(alert_of_record(&record, &alert));
    assert_string_equal(alert.text,
                        "The certificate of this member expires within 30 days. It is the "
                        "certificate escrow1, good until 2026-02-01T00:00:00.000Z.");
}

/* ---- checks ---- */

static void test_checks(void **state)
{
    static const struct {
        enum check_name name;
        const char *failing, *warning;
    } checks[] = {
        {CHECK_LOG, "log_trouble", "log_trouble"},
        {CHECK_STORE, "log_trouble", NULL},
        {CHECK_CLOCK, "not_ready", NULL},
        {CHECK_ROSTER, "not_ready", NULL},
        {CHECK_TPM, "not_ready", NULL},
        {CHECK_POLICY, NULL, NULL},
        {CHECK_PROBERS, NULL, NULL},
        {CHECK_ALERT, NULL, NULL},
        {CHECK_GROUPS, NULL, NULL}, /* they are recorded */
    };
    struct alert alert;

    (void)state;
    assert_int_equal(ARRAY_LEN(checks), CHECK_OF_KEEPER);
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        for (int status = CHECK_OK; status <= CHECK_UNKNOWN; status++) {
            const struct check check = {(enum check_status)status, REASON_TPM_UNAVAILABLE, "why"};
            const char *event = status == CHECK_FAIL   ? checks[i].failing
                                : status == CHECK_WARN ? checks[i].warning
                                                       : NULL;

            assert_int_equal(alert_of_check(checks[i].name, &check, TIME_MS, &alert),
                             event != NULL);
            if (!event)
                continue;
            assert_string_equal(alert.event, event);
            assert_string_equal(alert.reason, "tpm_unavailable");
            assert_string_equal(alert.text, "The TPM does not answer. why");
            assert_string_equal(alert.next, "escrowctl status");
        }
    }
}

/* ---- what it says ---- */

static void test_document(void **state)
{
    const struct audit_record record = record_of(2, NULL);
    CLEANUP(json_free_p) json_t *document = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    struct alert alert;

    (void)state;
    assert_true(alert_of_record(&record, &alert));
    document = alert_json(&alert, "e1", "spiffe://test/escrowd/e1");
    text = json_text(document);
    /* Names, a reason and a number: not the act, the key, or the certificate. */
    assert_string_equal(
        text, "{\"database\":\"SSISDB\",\"epoch\":4,\"event\":\"refused\",\"group\":\"ssis\","
              "\"identity\":\"spiffe://test/agent/a\",\"member\":\"e1\","
              "\"next\":\"escrowctl audit explain 77 --escrowd spiffe://test/escrowd/e1\","
              "\"purpose\":\"promote\","
              "\"reason\":\"session_not_found\",\"record\":77,\"replica\":\"node-a\","
              "\"text\":\"A release was refused. The agent has no session with this nonce on the "
              "replica, under the login that escrowd looks for "
              "(agent_login).\",\"time\":\"2026-01-01T00:00:00.123Z\",\"v\":1}");
}

static void test_nothing_is_null(void **state)
{
    CLEANUP(json_free_p) json_t *document = NULL;
    struct alert alert;

    (void)state;
    alert_of_test(TIME_MS, &alert);
    document = alert_json(&alert, "e1", "spiffe://test/escrowd/e1");
    assert_int_equal(json_object_size(document), 14);
    assert_true(json_is_null(json_object_get(document, "group")));
    assert_true(json_is_null(json_object_get(document, "record")));
    assert_string_equal(json_string_value(json_object_get(document, "event")), "test");
    assert_string_equal(json_string_value(json_object_get(document, "next")), "escrowctl status");
}

/* The longest names that a record can have: with every byte of the database escaped. */
static void test_the_longest_fits(void **state)
{
    CLEANUP(alert_queue_free_p) struct alert_queue *queue = alert_queue_new();
    CLEANUP(cleanup_free) char *text = NULL;
    char name[65] = {0}, database[385] = {0}, identity[256] = {0};
    struct audit_record record = record_of(0, NULL);
    struct alert alert;

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    memset(database, '\1', sizeof(database) - 1);
    memset(identity, 'i', sizeof(identity) - 1);
    record.group = record.replica = name;
    record.database = database;
    record.actor = identity;
    record.sequence = record.epoch = INT64_MAX;
    assert_true(alert_of_record(&record, &alert));
    alert_queue_add(queue, alert_json(&alert, name, identity), 0);
    text = alert_queue_take(queue, 0, false);
    assert_non_null(text);
    assert_true(strlen(text) <= ALERT_BYTES_MAX);
}

/* ---- the queue ---- */

static json_t *alert_named(const char *event, const char *group, const char *reason, int record)
{
    struct alert alert = {
        .event = event, .group = group, .reason = reason, .record = (uint64_t)record, .text = "x"};

    return alert_json(&alert, "e1", "spiffe://test/escrowd/e1");
}

/* The next is this record, which says how many were suppressed and not delivered; -1: none. */
static void assert_next(struct alert_queue *queue, int64_t now_ms, int record, int suppressed,
                        int undelivered)
{
    CLEANUP(cleanup_free) char *text = alert_queue_take(queue, now_ms, false);
    CLEANUP(json_free_p) json_t *document = text ? json_loads(text, 0, NULL) : NULL;

    assert_int_equal(text != NULL, record >= 0);
    if (!text)
        return;
    assert_int_equal(json_integer_value(json_object_get(document, "record")), record);
    assert_int_equal(json_integer_value(json_object_get(document, "suppressed")), suppressed);
    assert_int_equal(json_integer_value(json_object_get(document, "undelivered")), undelivered);
}

static void test_order(void **state)
{
    CLEANUP(alert_queue_free_p) struct alert_queue *queue = alert_queue_new();

    (void)state;
    assert_next(queue, 0, -1, 0, 0);
    alert_queue_add(queue, alert_named("c", NULL, NULL, 1), 0);
    alert_queue_add(queue, alert_named("a", "g", "r", 2), 0);
    alert_queue_add(queue, alert_named("b", NULL, NULL, 3), 0);
    assert_next(queue, 0, 1, 0, 0);
    assert_next(queue, 0, 2, 0, 0);
    assert_next(queue, 0, 3, 0, 0);
    assert_next(queue, INT64_MAX, -1, 0, 0);
}

/* Once a minute, the last of them, with how many there were before it. */
static void test_a_flood_is_one_a_minute(void **state)
{
    CLEANUP(alert_queue_free_p) struct alert_queue *queue = alert_queue_new();
    struct alert_numbers numbers;

    (void)state;
    alert_queue_add(queue, alert_named("e", "g", "r", 1), 1000);
    assert_next(queue, 1000, 1, 0, 0);
    for (int i = 2; i <= 1001; i++)
        alert_queue_add(queue, alert_named("e", "g", "r", i), 1000 + i);
    assert_next(queue, 1000 + ALERT_PERIOD_MS - 1, -1, 0, 0);
    alert_queue_numbers(queue, &numbers);
    assert_int_equal(numbers.waiting, 1);
    assert_int_equal(numbers.suppressed, 999);
    assert_next(queue, 1000 + ALERT_PERIOD_MS, 1001, 999, 0);
    assert_next(queue, INT64_MAX, -1, 0, 0);
    alert_queue_add(queue, alert_named("e", "g", "r", 2000), 1000 + 3 * ALERT_PERIOD_MS);
    assert_next(queue, 1000 + 3 * ALERT_PERIOD_MS, 2000, 0, 0);
}

/* Another event, group or reason is another topic, which nothing delays. */
static void test_topics(void **state)
{
    CLEANUP(alert_queue_free_p) struct alert_queue *queue = alert_queue_new();

    (void)state;
    alert_queue_add(queue, alert_named("e", "g", "r", 1), 0);
    alert_queue_add(queue, alert_named("f", "g", "r", 2), 0);
    alert_queue_add(queue, alert_named("e", "h", "r", 3), 0);
    alert_queue_add(queue, alert_named("e", "g", "s", 4), 0);
    alert_queue_add(queue, alert_named("e", NULL, "r", 5), 0);
    alert_queue_add(queue, alert_named("e", "g", NULL, 6), 0);
    for (int i = 1; i <= 6; i++)
        assert_next(queue, 0, i, 0, 0);
}

/* What may not come yet is waited for by nobody else. */
static void test_a_suppressed_one_holds_nobody_up(void **state)
{
    CLEANUP(alert_queue_free_p) struct alert_queue *queue = alert_queue_new();

    (void)state;
    alert_queue_add(queue, alert_named("e", "g", "r", 1), 0);
    assert_next(queue, 0, 1, 0, 0);
    alert_queue_add(queue, alert_named("e", "g", "r", 2), 1);
    alert_queue_add(queue, alert_named("f", "g", "r", 3), 2);
    assert_next(queue, 2, 3, 0, 0);
    assert_next(queue, 2, -1, 0, 0);
}

static void test_too_many_topics(void **state)
{
    CLEANUP(alert_queue_free_p) struct alert_queue *queue = alert_queue_new();
    struct alert_numbers numbers;
    char group[16];

    (void)state;
    for (int i = 0; i < ALERT_TOPICS_MAX + 3; i++) {
        snprintf(group, sizeof(group), "g%d", i);
        alert_queue_add(queue, alert_named("e", group, NULL, i), i);
    }
    alert_queue_numbers(queue, &numbers);
    assert_int_equal(numbers.waiting, ALERT_TOPICS_MAX);
    assert_int_equal(numbers.lost, 3);
    assert_next(queue, 1000, 3, 0, 3); /* the oldest are gone, and that is said once */
    assert_next(queue, 1000, 4, 0, 0);
    /* A topic with nothing to say gives way before one that waits. */
    alert_queue_add(queue, alert_named("f", NULL, NULL, 9000), 1000);
    alert_queue_add(queue, alert_named("g", NULL, NULL, 9001), 1000);
    alert_queue_numbers(queue, &numbers);
    assert_int_equal(numbers.lost, 3);
    assert_int_equal(numbers.waiting, ALERT_TOPICS_MAX);
}

static void test_what_was_missed_is_said(void **state)
{
    CLEANUP(alert_queue_free_p) struct alert_queue *queue = alert_queue_new();
    struct alert_numbers numbers;

    (void)state;
    alert_queue_missed(queue);
    alert_queue_add(queue, NULL, 0); /* no memory for one */
    alert_queue_add(queue, alert_named("e", NULL, NULL, 1), 0);
    alert_queue_numbers(queue, &numbers);
    assert_int_equal(numbers.lost, 1);
    assert_next(queue, 0, 1, 0, 2);
}

static void test_the_last_go_at_once(void **state)
{
    CLEANUP(alert_queue_free_p) struct alert_queue *queue = alert_queue_new();
    CLEANUP(cleanup_free) char *text = NULL;

    (void)state;
    alert_queue_add(queue, alert_named("e", NULL, NULL, 1), 0);
    assert_next(queue, 0, 1, 0, 0);
    alert_queue_add(queue, alert_named("e", NULL, NULL, 2), 1);
    assert_next(queue, 1, -1, 0, 0);
    text = alert_queue_take(queue, 1, true);
    assert_non_null(text);
}

/* ---- an alerter that is none ---- */

/* Between keeper and alerter, with one alert on its way. */
struct line {
    struct event_base *base;
    struct keeper_alerts *alerts;
    int alerter;
    unsigned overdue; /* how often a new alerter was wanted */
};

static void on_overdue(void *argument)
{
    struct line *line = argument;

    line->overdue++;
}

static int open_line(void **state)
{
    static struct line line;
    const struct audit_record record = record_of(2, NULL);
    int fds[2];

    line = (struct line){.base = event_base_new()};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(keeper_alerts_new(&(struct keeper_alerts_config){.base = line.base,
                                                                      .member = "a",
                                                                      .timeout_ms = 1,
                                                                      .on_overdue = on_overdue,
                                                                      .argument = &line},
                                       &line.alerts),
                     ESCROW_OK);
    keeper_alerts_attach(line.alerts, fds[0]);
    line.alerter = fds[1];
    /* While it has nothing to do it cannot be late. */
    keeper_alerts_tick(line.alerts, -1000);
    assert_int_equal(line.overdue, 0);
    keeper_alerts_record(line.alerts, &record);
    *state = &line;
    return 0;
}

static int close_line(void **state)
{
    struct line *line = *state;

    keeper_alerts_free(line->alerts);
    event_base_free(line->base);
    close(line->alerter);
    return 0;
}

/* It hangs; that the command has its time, and the alerter some more, is waited for. */
static void test_an_alerter_that_hangs(void **state)
{
    struct line *line = *state;
    struct check check;

    keeper_alerts_tick(line->alerts, 60000);
    assert_int_equal(line->overdue, 0);
    keeper_alerts_tick(line->alerts, -1);
    assert_int_equal(line->overdue, 1);
    keeper_alerts_check(line->alerts, &check);
    assert_int_equal(check.reason, REASON_ROLE_DOWN);
}

static void say_done(struct line *line, uint64_t id)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};

    ipc_put_alert_done(&writer, &(struct ipc_alert_done){IPC_ALERT_DELIVERED, 0});
    assert_int_equal(ipc_send(line->alerter, IPC_ALERT_DONE, id, &writer, 1000), ESCROW_OK);
    event_base_loop(line->base, EVLOOP_ONCE);
}

/* What it says is of the alert that it has. */
static void test_an_alerter_that_answers_for_another(void **state)
{
    struct line *line = *state;
    struct check check;

    say_done(line, 2);
    assert_int_equal(line->overdue, 1);
    keeper_alerts_check(line->alerts, &check);
    assert_int_equal(check.reason, REASON_ROLE_DOWN);
}

static void test_an_alerter_that_answers(void **state)
{
    struct line *line = *state;
    struct check check;

    say_done(line, 1);
    keeper_alerts_tick(line->alerts, -1000);
    assert_int_equal(line->overdue, 0);
    keeper_alerts_check(line->alerts, &check);
    assert_int_equal(check.status, CHECK_OK);
}

#define ALERTER(test) cmocka_unit_test_setup_teardown(test, open_line, close_line)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_every_event_is_in_the_table),
        cmocka_unit_test(test_an_item_is_named),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_nothing_is_null),
        cmocka_unit_test(test_the_longest_fits),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_a_flood_is_one_a_minute),
        cmocka_unit_test(test_topics),
        cmocka_unit_test(test_a_suppressed_one_holds_nobody_up),
        cmocka_unit_test(test_too_many_topics),
        cmocka_unit_test(test_what_was_missed_is_said),
        cmocka_unit_test(test_the_last_go_at_once),
        ALERTER(test_an_alerter_that_hangs),
        ALERTER(test_an_alerter_that_answers_for_another),
        ALERTER(test_an_alerter_that_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
