/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/audit_record.h"
#include "libescrow/cleanup.h"

#include <openssl/evp.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_record_has_every_member(void **state)
{
    CLEANUP(json_decrefp) json_t *facts = json_pack("{s:i}", "a", 1);
    CLEANUP(json_decrefp) json_t *objects = json_pack("[s]", "000b");
    const struct audit_record record = {
        .sequence = 7,
        .time_ms = 1709251199999,
        .has_tpm_clock = true,
        .tpm_clock = 5,
        .event = AUDIT_RELEASE,
        .auth = AUDIT_AUTH_ACT,
        .actor = "a",
        .group = "g",
        .database = "d",
        .objects = objects,
        .facts = facts,
        .epoch = 3,
    };
    CLEANUP(audit_record_deinit) struct audit_record again = {0}, empty = {0};
    CLEANUP(cleanup_free) char *line = NULL, *empty_line = NULL;
    size_t len, empty_len;

    (void)state;
    assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
    assert_non_null(strstr(line, "\"time\":\"2024-02-29T23:59:59.999Z\""));
    assert_non_null(strstr(line, "\"reset_count\":0,"));
    assert_int_equal(audit_record_parse(line, len, &again), ESCROW_OK);
    assert_int_equal(again.sequence, 7);
    assert_int_equal(again.time_ms, 1709251199999);
    assert_string_equal(again.group, "g");
    assert_null(again.order);
    assert_true(json_equal(again.facts, facts));
    assert_int_equal(again.epoch, 3);

    empty.sequence = 1;
    empty.event = AUDIT_START;
    assert_int_equal(audit_record_encode(&empty, &empty_line, &empty_len), ESCROW_OK);
    assert_int_equal(json_object_size(again.document), 27);
    assert_non_null(strstr(empty_line, "\"tpm_clock\":null"));
    assert_non_null(strstr(empty_line, "\"previous\":\"00000000"));
}

/* Every member with a value of its own, as it stands in the log for years. */
static void test_record_form(void **state)
{
    static const char expected[] =
        "{\"act\":\"act-text\",\"actor\":\"actor-text\",\"auth\":\"certificate\",\"certificate\":"
        "\"certificate-text\",\"database\":\"database-text\",\"decision\":\"decision-text\","
        "\"detail\":{\"d\":2},\"epoch\":9,\"event\":\"expired\",\"facts\":{\"f\":1},\"grant\":11,"
        "\"group\":\"group-text\",\"key\":\"key-text\",\"objects\":[\"000b\"],\"order\":\"order-"
        "text\",\"previous\":\"0600000000000000000000000000000000000000000000000000000000000000\","
        "\"purpose\":\"purpose-text\",\"reason\":\"reason-text\",\"replica\":\"replica-text\","
        "\"reset_count\":8,\"roster\":10,\"rules\":\"rules-text\",\"sequence\":4,\"time\":\"1970-"
        "01-01T00:00:00.005Z\",\"tpm_clock\":7,\"v\":1,\"versions\":[3]}\n";
    CLEANUP(json_decrefp) json_t *facts = json_pack("{s:i}", "f", 1);
    CLEANUP(json_decrefp) json_t *detail = json_pack("{s:i}", "d", 2);
    CLEANUP(json_decrefp) json_t *objects = json_pack("[s]", "000b");
    CLEANUP(json_decrefp) json_t *versions = json_pack("[i]", 3);
    const struct audit_record record = {
        .sequence = 4,
        .time_ms = 5,
        .previous = {6},
        .has_tpm_clock = true,
        .tpm_clock = 7,
        .reset_count = 8,
        .event = AUDIT_EXPIRED,
        .auth = AUDIT_AUTH_CERTIFICATE,
        .actor = "actor-text",
        .key = "key-text",
        .certificate = "certificate-text",
        .act = "act-text",
        .group = "group-text",
        .database = "database-text",
        .replica = "replica-text",
        .versions = versions,
        .objects = objects,
        .purpose = "purpose-text",
        .epoch = 9,
        .decision = "decision-text",
        .reason = "reason-text",
        .rules = "rules-text",
        .roster = 10,
        .facts = facts,
        .order = "order-text",
        .grant = 11,
        .detail = detail,
    };
    CLEANUP(audit_record_deinit) struct audit_record again = {0};
    CLEANUP(cleanup_free) char *line = NULL, *twice = NULL;
    size_t len, twice_len;

    (void)state;
    assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
    assert_int_equal(len, strlen(line));
    assert_string_equal(line, expected);
    /* And what is read is what was written, member for member. */
    assert_int_equal(audit_record_parse(line, len, &again), ESCROW_OK);
    assert_int_equal(audit_record_encode(&again, &twice, &twice_len), ESCROW_OK);
    assert_string_equal(twice, line);
}

/* What makes something else of a line, and must not be read. */
static const struct {
    const char *from, *to;
} edits[] = {
    {"\"actor\":\"a\"", "\"actor\":1"},                               /* kind */
    {"\"actor\":\"a\",", ""},                                         /* missing */
    {"\"actor\"", "\"actress\""},                                     /* unknown */
    {"\"auth\"", "\"actress\":1,\"auth\""},                           /* one more */
    {"\"act\":null,\"actor\":\"a\"", "\"actor\":\"a\",\"act\":null"}, /* not sorted */
    {"\"actor\":\"a\"", "\"actor\": \"a\""},                          /* not compact */
    {"\"actor\":\"a\"", "\"actor\":\"\\u0061\""},                     /* another spelling */
    {"\"sequence\":7", "\"sequence\":0"},
    {"\"sequence\":7", "\"sequence\":-7"},
    {"\"epoch\":3", "\"epoch\":0"}, /* null has one form */
    {"\"v\":1", "\"v\":2"},         /* of a later escrowd */
    {"\"v\":1", "\"v\":null"},
    {"\"v\":1,", ""},
    {"\"event\":\"start\"", "\"event\":\"begin\""},
    {"\"event\":\"start\"", "\"event\":1"},
    {"\"auth\":\"none\"", "\"auth\":null"},
    {"\"auth\":\"none\"", "\"auth\":\"maybe\""},
    {"\"previous\":\"00", "\"previous\":\"0"},
    {"\"previous\":\"00", "\"previous\":\"0g"},
    {"\"previous\":\"00", "\"previous\":\"0000"},
    {"\"time\":\"1970-01-01T00:00:00.000Z\"", "\"time\":0"},
    {"1970-01-01T00:00:00.000Z", ""},
    {"1970-01-01T00:00:00.000Z", "yesterday"},
    {"1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00"},
    {"1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000"},
    {"1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000z"},
    {"1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00,000Z"},
    {"1970-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z"},
    {"\"tpm_clock\":5", "\"tpm_clock\":\"5\""},
    {"\"tpm_clock\":5", "\"tpm_clock\":-5"},
    {"\"tpm_clock\":5", "\"tpm_clock\":5.5"},
    {"\"tpm_clock\":5", "\"tpm_clock\":null"}, /* both or neither */
    {"\"reset_count\":6", "\"reset_count\":null"},
    {"\"facts\":null", "\"facts\":[]"},
    {"\"objects\":null", "\"objects\":{}"},
    {"1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.00Z"},
    {"1970-01-01T00:00:00.000Z", "1970-02-30T00:00:00.000Z"},
    {"\"actor\":\"a\"", "\"actor\":"}, /* no JSON */
    {"\n", " \n"},
    {"\n", "x"},
    {"\n", ""},
};

static void test_record_refused(void **state)
{
    const struct audit_record record = {.sequence = 7,
                                        .event = AUDIT_START,
                                        .actor = "a",
                                        .epoch = 3,
                                        .has_tpm_clock = true,
                                        .tpm_clock = 5,
                                        .reset_count = 6};
    CLEANUP(cleanup_free) char *line = NULL;
    CLEANUP(audit_record_deinit) struct audit_record parsed = {0};
    size_t len;

    (void)state;
    assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
    for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
        const char *found = strstr(line, edits[i].from);
        char edited[2048];
        int edited_len;

        assert_non_null(found);
        edited_len = snprintf(edited, sizeof(edited), "%.*s%s%s", (int)(found - line), line,
                              edits[i].to, found + strlen(edits[i].from));
        assert_int_equal(audit_record_parse(edited, (size_t)edited_len, &parsed),
                         ESCROW_ERR_MALFORMED);
    }
    assert_int_equal(audit_record_parse(line, 0, &parsed), ESCROW_ERR_MALFORMED);
    assert_int_equal(audit_record_parse("\n", 1, &parsed), ESCROW_ERR_MALFORMED);
    assert_int_equal(audit_record_parse(line, len, &parsed), ESCROW_OK);
}

/* All words that the log may hold, and that each is read as what it was. */
static void test_words(void **state)
{
    static const char *const events[] = {
        "start",   "shutdown", "publish", "deposit",    "release",  "unfinished", "receipt",
        "order",   "epoch",    "refusal", "unproved",   "alert",    "log_torn",   "log_back",
        "approve", "expired",  "settle",  "rebaseline", "repeated",
    };
    static const char *const auths[] = {"none", "certificate", "act"};
    static const char *const faults[] = {"none", "form", "sequence", "chain", "unchecked"};

    (void)state;
    assert_int_equal(ARRAY_LEN(events), AUDIT_EVENT_COUNT - 1);
    for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
        struct audit_record record = {.sequence = 1, .event = i + 1, .auth = i % 3};
        CLEANUP(audit_record_deinit) struct audit_record again = {0};
        CLEANUP(cleanup_free) char *line = NULL;
        size_t len;

        assert_string_equal(audit_event_word(i + 1), events[i]);
        assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
        assert_int_equal(audit_record_parse(line, len, &again), ESCROW_OK);
        assert_int_equal(again.event, i + 1);
        assert_int_equal(again.auth, i % 3);
        assert_string_equal(json_string_value(json_object_get(again.document, "auth")),
                            auths[i % 3]);
        audit_record_deinit(&again);
        assert_null(again.document);
    }
    assert_string_equal(audit_event_word(0), "unknown");
    assert_string_equal(audit_event_word(AUDIT_EVENT_COUNT), "unknown");
    for (unsigned i = 0; i < ARRAY_LEN(faults); i++)
        assert_string_equal(audit_fault_word(i), faults[i]);
}

/* The chain is the SHA-256 of the last line, its number, and the latest time of all: a clock that
 * is set back does not take it back. */
static void test_chain(void **state)
{
    struct audit_record record = {.sequence = 1, .time_ms = 5000, .event = AUDIT_START};
    CLEANUP(audit_record_deinit) struct audit_record first = {0}, second = {0};
    CLEANUP(cleanup_free) char *line = NULL, *next = NULL;
    struct audit_chain chain = {0}, anchor = {.sequence = 1, .time_ms = 7};
    uint8_t hash[AUDIT_HASH_BYTES];
    size_t len;

    (void)state;
    assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
    assert_int_equal(audit_chain_next(&chain, line, len, &first), AUDIT_FAULT_NONE);
    assert_int_equal(EVP_Digest(line, len, hash, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(chain.hash, hash, sizeof(hash));
    assert_int_equal(chain.sequence, 1);
    assert_int_equal(chain.time_ms, 5000);
    record.sequence = 2;
    record.time_ms = 4000;
    memcpy(record.previous, hash, sizeof(hash));
    assert_int_equal(audit_record_encode(&record, &next, &len), ESCROW_OK);
    assert_int_equal(audit_chain_next(&chain, next, len, &second), AUDIT_FAULT_NONE);
    assert_int_equal(chain.sequence, 2);
    assert_int_equal(chain.time_ms, 5000);
    assert_int_equal(second.time_ms, 4000);

    assert_int_equal(audit_chain_anchor(&anchor, "{}\n", 3), ESCROW_OK);
    assert_int_equal(anchor.hash[0] | anchor.hash[31], 0);
    assert_int_equal(audit_chain_anchor(&anchor, next, len), ESCROW_OK);
    assert_memory_equal(anchor.hash, hash, sizeof(hash));
    assert_int_equal(anchor.sequence, 1);
}

/* The largest number that readers of JSON have, and one more. */
static void test_largest_number(void **state)
{
    struct audit_record record = {.sequence = INT64_MAX, .event = AUDIT_START};
    CLEANUP(audit_record_deinit) struct audit_record again = {0};
    CLEANUP(cleanup_free) char *line = NULL, *none = NULL;
    size_t len;

    (void)state;
    assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
    assert_int_equal(audit_record_parse(line, len, &again), ESCROW_OK);
    assert_true(again.sequence == INT64_MAX);
    record.sequence++;
    assert_int_equal(audit_record_encode(&record, &none, &len), ESCROW_ERR_MALFORMED);
    assert_null(none);
}

/* What is written can be read: a line that would be too long is not written. */
static void test_longest_line(void **state)
{
    CLEANUP(cleanup_free) char *actor = calloc(1, AUDIT_LINE_MAX), *line = NULL, *longest = NULL;
    CLEANUP(cleanup_free) char *too_long = malloc(AUDIT_LINE_MAX + 1);
    CLEANUP(audit_record_deinit) struct audit_record again = {0}, too_much = {0};
    struct audit_record record = {.sequence = 1, .event = AUDIT_START, .actor = actor};
    char *none = NULL;
    size_t len, more;

    (void)state;
    assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
    more = AUDIT_LINE_MAX - len;
    memset(actor, 'a', more);
    assert_int_equal(audit_record_encode(&record, &longest, &len), ESCROW_OK);
    assert_int_equal(len, AUDIT_LINE_MAX);
    assert_int_equal(audit_record_parse(longest, len, &again), ESCROW_OK);
    len = (size_t)(strstr(longest, "aaaa") - longest);
    memcpy(too_long, longest, len);
    too_long[len] = 'a';
    memcpy(too_long + len + 1, longest + len, AUDIT_LINE_MAX - len);
    assert_int_equal(audit_record_parse(too_long, AUDIT_LINE_MAX + 1, &too_much),
                     ESCROW_ERR_MALFORMED);
    actor[more] = 'a';
    assert_int_equal(audit_record_encode(&record, &none, &len), ESCROW_ERR_MALFORMED);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_form),    cmocka_unit_test(test_record_has_every_member),
        cmocka_unit_test(test_record_refused), cmocka_unit_test(test_words),
        cmocka_unit_test(test_chain),          cmocka_unit_test(test_largest_number),
        cmocka_unit_test(test_longest_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
