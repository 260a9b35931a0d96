/* SPDX-License-Identifier: Apache-2.0 */
/* What front says that it serves with: on the channel, in status, and as alerts. */
#include "escrowd/served.h"
#include "libescrow/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DAY_S 86400L
#define NOW_S (20000 * DAY_S)

static struct ipc_served said(void)
{
    return (struct ipc_served){.loaded_ms = NOW_S * 1000,
                               .count = 3,
                               .items = {{.kind = TLS_ITEM_CERTIFICATE,
                                          .name = "spiffe://x/escrowd/e1",
                                          .serial = "01ff",
                                          .from_s = NOW_S - DAY_S,
                                          .until_s = NOW_S + 100 * DAY_S},
                                         {.kind = TLS_ITEM_CA,
                                          .name = "CN=ca",
                                          .serial = "02",
                                          .from_s = NOW_S - DAY_S,
                                          .until_s = NOW_S + 200 * DAY_S},
                                         {.kind = TLS_ITEM_CRL,
                                          .name = "CN=ca",
                                          .from_s = NOW_S - DAY_S,
                                          .until_s = NOW_S + DAY_S}}};
}

/* ---- the message ---- */

static enum escrow_err pass(const struct ipc_served *served, size_t cut, struct ipc_served *ret)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    struct ipc_message message = {.type = IPC_SERVED};

    ipc_put_served(&writer, served);
    assert_int_equal(writer.err, ESCROW_OK);
    message.payload = writer.bytes;
    message.len = writer.len - cut;
    return ipc_get_served(&message, ret);
}

static void test_message_comes_as_it_was(void **state)
{
    const struct ipc_served sent = said();
    struct ipc_served received;

    (void)state;
    assert_int_equal(pass(&sent, 0, &received), ESCROW_OK);
    assert_int_equal(received.count, 3);
    assert_int_equal(received.loaded_ms, sent.loaded_ms);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(received.items[i].kind, sent.items[i].kind);
        assert_string_equal(received.items[i].name, sent.items[i].name);
        assert_string_equal(received.items[i].serial, sent.items[i].serial);
        assert_int_equal(received.items[i].from_s, sent.items[i].from_s);
        assert_int_equal(received.items[i].until_s, sent.items[i].until_s);
    }
    assert_int_equal(pass(&sent, 1, &received), ESCROW_ERR_MALFORMED);
}

static void test_message_without_its_form(void **state)
{
    struct ipc_served sent = said(), received;

    (void)state;
    sent.count = 0;
    assert_int_equal(pass(&sent, 0, &received), ESCROW_ERR_MALFORMED);
    sent = said();
    sent.items[0].kind = TLS_ITEM_CA;
    assert_int_equal(pass(&sent, 0, &received), ESCROW_ERR_MALFORMED);
    sent = said();
    sent.items[1].kind = TLS_ITEM_CERTIFICATE;
    assert_int_equal(pass(&sent, 0, &received), ESCROW_ERR_MALFORMED);
    sent = said();
    snprintf(sent.items[1].name, sizeof(sent.items[1].name), "CN=\n");
    assert_int_equal(pass(&sent, 0, &received), ESCROW_ERR_MALFORMED);
    sent = said();
    snprintf(sent.items[1].name, sizeof(sent.items[1].name), "CN=\xff");
    assert_int_equal(pass(&sent, 0, &received), ESCROW_ERR_MALFORMED);
    sent = said();
    sent.items[2].until_s = -1;
    assert_int_equal(pass(&sent, 0, &received), ESCROW_ERR_MALFORMED);
    sent = said();
    sent.items[2].until_s = INT64_MAX;
    assert_int_equal(pass(&sent, 0, &received), ESCROW_ERR_MALFORMED);
    sent = said();
    sent.loaded_ms = INT64_MAX;
    assert_int_equal(pass(&sent, 0, &received), ESCROW_ERR_MALFORMED);
}

/* ---- status ---- */

static void test_status(void **state)
{
    CLEANUP(served_free_p) struct served *served = served_new();
    const struct ipc_served three = said();
    CLEANUP(json_free_p) json_t *before = served_json(served);
    CLEANUP(json_free_p) json_t *after = NULL;
    const json_t *certificate;

    (void)state;
    assert_true(json_is_null(before));
    served_set(served, &three);
    after = served_json(served);
    certificate = json_object_get(after, "certificate");
    assert_string_equal(json_string_value(json_object_get(after, "loaded")),
                        "2024-10-04T00:00:00.000Z");
    assert_string_equal(json_string_value(json_object_get(certificate, "serial")), "01ff");
    assert_string_equal(json_string_value(json_object_get(certificate, "not_after")),
                        "2025-01-12T00:00:00.000Z");
    assert_int_equal(json_array_size(json_object_get(after, "authorities")), 1);
    assert_int_equal(json_array_size(json_object_get(after, "lists")), 1);
}

/* ---- alerts ---- */

struct heard {
    bool is_deaf;
    size_t count;
    enum reason reasons[100];
};

static bool on_alert(const struct served_alert *alert, void *argument)
{
    struct heard *heard = argument;

    if (heard->is_deaf)
        return false;
    assert_true(heard->count < ARRAY_LEN(heard->reasons));
    heard->reasons[heard->count++] = alert->reason;
    return true;
}

static size_t look(struct served *served, int64_t now_s, struct heard *heard)
{
    *heard = (struct heard){0};
    served_look(served, now_s, on_alert, heard);
    return heard->count;
}

static void test_alerts_in_time_and_once_a_day(void **state)
{
    CLEANUP(served_free_p) struct served *served = served_new();
    struct ipc_served three = said();
    struct heard heard;

    (void)state;
    assert_int_equal(look(served, NOW_S, &heard), 0);
    served_set(served, &three);
    assert_int_equal(look(served, NOW_S, &heard), 0);
    assert_int_equal(look(served, NOW_S + DAY_S - 1, &heard), 0);
    assert_int_equal(look(served, NOW_S + DAY_S, &heard), 1);
    assert_int_equal(heard.reasons[0], REASON_CRL_STALE);
    three.items[2].until_s = NOW_S + 1000 * DAY_S;
    served_set(served, &three);
    assert_int_equal(look(served, NOW_S + 70 * DAY_S, &heard), 0);
    assert_int_equal(look(served, NOW_S + 70 * DAY_S + 1, &heard), 1);
    assert_int_equal(heard.reasons[0], REASON_OWN_CERTIFICATE_EXPIRING);
    assert_int_equal(look(served, NOW_S + 70 * DAY_S + 2, &heard), 0);
    /* Said again, it is the same certificate on the same day. */
    served_set(served, &three);
    assert_int_equal(look(served, NOW_S + 71 * DAY_S - 1, &heard), 0);
    assert_int_equal(look(served, NOW_S + 71 * DAY_S, &heard), 1);
    assert_int_equal(look(served, NOW_S + 100 * DAY_S, &heard), 1);
    assert_int_equal(heard.reasons[0], REASON_OWN_CERTIFICATE_EXPIRED);
    assert_int_equal(look(served, NOW_S + 201 * DAY_S, &heard), 2);
    assert_int_equal(heard.reasons[1], REASON_CA_EXPIRING);
    /* Renewed. */
    three.items[0].until_s = three.items[1].until_s = NOW_S + 900 * DAY_S;
    served_set(served, &three);
    assert_int_equal(look(served, NOW_S + 202 * DAY_S, &heard), 0);
}

static void test_an_alert_that_was_not_told_is_tried_again(void **state)
{
    CLEANUP(served_free_p) struct served *served = served_new();
    const struct ipc_served three = said();
    struct heard heard = {.is_deaf = true};

    (void)state;
    served_set(served, &three);
    served_look(served, NOW_S + 80 * DAY_S, on_alert, &heard);
    assert_int_equal(look(served, NOW_S + 80 * DAY_S, &heard), 2);
}

/* A front that says something new all the time fills no log. */
static void test_alerts_are_bounded(void **state)
{
    CLEANUP(served_free_p) struct served *served = served_new();
    struct ipc_served three = said();
    struct heard heard;
    size_t told = 0;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(three.items[0].serial, sizeof(three.items[0].serial), "%08x", i);
        three.items[0].until_s = NOW_S;
        served_set(served, &three);
        told += look(served, NOW_S, &heard);
    }
    assert_int_equal(told, TLS_ITEMS_MAX);
    assert_int_equal(look(served, NOW_S + DAY_S - 1, &heard), 0);
    assert_int_equal(look(served, NOW_S + DAY_S, &heard), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_comes_as_it_was),
        cmocka_unit_test(test_message_without_its_form),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_alerts_in_time_and_once_a_day),
        cmocka_unit_test(test_an_alert_that_was_not_told_is_tried_again),
        cmocka_unit_test(test_alerts_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
