/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/ledger.h"
#include "escrowd/ledger_detail.h"
#include "escrowd/store_ledger.h"
#include "escrowd/store_pending.h"
#include "escrowd/store_secrets.h"
#include "escrowd/store_trust.h"
#include "libescrow/json.h"
#include "tests/unit/fixture.h"

#include <sqlite3.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH_BYTES 256
#define LINE_BYTES (64 * 1024)
#define LINES_MAX 32
#define DATABASE "SSISDB"
#define SEGMENT "00000000000000000001.jsonl"
#define NOW_MS (INT64_MAX / 2) /* later than every record */

/* A log and the store that follows it. */
struct escrow {
    struct fixture *keys;
    char folder[PATH_BYTES];
    struct store *store;
    struct ledger *ledger;
    struct audit *audit;
    struct tpm_name object; /* of the last deposit */
};

static const struct act_subject subject = {FIXTURE_GROUP, DATABASE};

static void path_in(const struct escrow *escrow, const char *name, char ret_path[PATH_BYTES])
{
    snprintf(ret_path, PATH_BYTES, "%.150s/%.80s", escrow->folder, name);
}

static void close_escrow(struct escrow *escrow)
{
    if (escrow->audit)
        audit_close(TAKE(escrow->audit));
    if (escrow->ledger)
        ledger_close(TAKE(escrow->ledger));
    if (escrow->store)
        store_close(TAKE(escrow->store));
}

/* Opens store and ledger, and replays the log; the log itself stays closed. */
static enum escrow_err replay(struct escrow *escrow, struct audit_reading *ret_reading)
{
    char path[PATH_BYTES];

    close_escrow(escrow);
    path_in(escrow, "store.sqlite", path);
    assert_int_equal(store_open(path, &escrow->store), ESCROW_OK);
    assert_int_equal(ledger_open(escrow->store, escrow->keys->authority, &escrow->ledger),
                     ESCROW_OK);
    return ledger_replay(escrow->ledger, escrow->folder, ret_reading);
}

static void open_escrow(struct escrow *escrow)
{
    struct audit_reading reading = {0};
    struct audit_config config = {escrow->folder, 1 << 20, ledger_fold, NULL};

    assert_int_equal(replay(escrow, &reading), ESCROW_OK);
    config.argument = escrow->ledger;
    assert_int_equal(audit_open(&config, &reading, &escrow->audit), ESCROW_OK);
}

static void remove_store(struct escrow *escrow)
{
    char path[PATH_BYTES];

    close_escrow(escrow);
    path_in(escrow, "store.sqlite", path);
    assert_int_equal(unlink(path), 0);
}

static int set_up(void **state)
{
    struct escrow *escrow = calloc(1, sizeof(*escrow));
    const char *folder = getenv("TMPDIR");
    void *keys;

    assert_non_null(escrow);
    assert_int_equal(secret_heap_init(), ESCROW_OK);
    assert_int_equal(fixture_setup(&keys), 0);
    escrow->keys = keys;
    snprintf(escrow->folder, PATH_BYTES, "%.150s/ledger.XXXXXX", folder ? folder : "/tmp");
    assert_non_null(mkdtemp(escrow->folder));
    open_escrow(escrow);
    *state = escrow;
    return 0;
}

static int tear_down(void **state)
{
    struct escrow *escrow = *state;
    void *keys = escrow->keys;
    char command[PATH_BYTES + 16];

    close_escrow(escrow);
    fixture_teardown(&keys);
    snprintf(command, sizeof(command), "rm -rf '%s'", escrow->folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a path of our own */
    free(escrow);
    return 0;
}

/* Appends and commits; returns the sequence of the record. */
static uint64_t record(struct escrow *escrow, const struct audit_record *wanted)
{
    assert_int_equal(audit_append(escrow->audit, wanted, NULL, NULL), ESCROW_OK);
    assert_int_equal(audit_commit(escrow->audit), ESCROW_OK);
    return audit_end(escrow->audit)->sequence;
}

static char *sign(const struct escrow *escrow, struct act *act, EVP_PKEY *key)
{
    char *compact;

    memset(act->nonce, 7, sizeof(act->nonce));
    act->aud = fixture_name(escrow->keys->storage[0]);
    assert_int_equal(act_sign(act, key, &compact), ESCROW_OK);
    return compact;
}

static void publish(struct escrow *escrow)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(cleanup_free) char *compact = NULL;
    struct approval *approval = calloc(1, sizeof(*approval));
    struct audit_record wanted = {.event = AUDIT_PUBLISH};

    *approval = (struct approval){.kind = TPM_APPROVAL_NODE,
                                  .group = FIXTURE_GROUP,
                                  .counter = fixture_name(escrow->keys->audit[0]),
                                  .epoch = 3,
                                  .act_key_count = 1,
                                  .act_keys = {fixture_name(escrow->keys->agent)}};
    assert_int_equal(approval_sign(escrow->keys->authority, approval), ESCROW_OK);
    act->purpose = PURPOSE_PUBLISH;
    act->publish.roster = strdup(roster_compact(escrow->keys->roster));
    act->publish.approvals = approval;
    act->publish.approval_count = 1;
    compact = sign(escrow, act, escrow->keys->admin);
    wanted.act = compact;
    record(escrow, &wanted);
}

static void fill_deposit(struct escrow *escrow, struct act *act, uint32_t version)
{
    static const uint8_t policy[32] = {1};
    CLEANUP(secret_free_p) struct secret *data = secret_random(32);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    const struct ec_point to = fixture_point(escrow->keys->storage[0]);
    struct wrap_object object;

    assert_int_equal(wrap_object_new(policy, data, &object, &sensitive), ESCROW_OK);
    escrow->object = object.name;
    act->purpose = PURPOSE_DEPOSIT;
    act->subject = subject;
    act->deposit.version = version;
    act->deposit.state = SECRET_ACTIVE;
    memset(act->deposit.payload, (int)version, sizeof(act->deposit.payload));
    assert_int_equal(
        wrap_object_marshal(&object, act->deposit.public_area, &act->deposit.public_len),
        ESCROW_OK);
    act->deposit.blob_count = 1;
    act->deposit.blobs[0].to = fixture_name(escrow->keys->storage[0]);
    assert_int_equal(wrap_seal(&object, sensitive, &to, &act->deposit.blobs[0].blob), ESCROW_OK);
}

static char *deposit_act(struct escrow *escrow, uint32_t version)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_DEPOSIT);

    fill_deposit(escrow, act, version);
    return sign(escrow, act, escrow->keys->admin);
}

static void deposit(struct escrow *escrow, uint32_t version)
{
    CLEANUP(cleanup_free) char *compact = deposit_act(escrow, version);
    const struct audit_record wanted = {.event = AUDIT_DEPOSIT, .act = compact};

    record(escrow, &wanted);
}

struct wanted_release {
    const char *decision;
    enum act_purpose purpose;
    uint64_t epoch;
    bool mints;
    const char *replica, *order;
};

static uint64_t release(struct escrow *escrow, const struct wanted_release *release)
{
    const struct ledger_release detail = {.kind = POLICY_KIND_PROMOTION,
                                          .mints_epoch = release->mints,
                                          .has_hints = true,
                                          .hints = {.recovery_lsn = "42"}};
    CLEANUP(json_free_p) json_t *document = ledger_release_detail(&detail);
    const struct audit_record wanted = {.event = AUDIT_RELEASE,
                                        .actor = FIXTURE_AGENT,
                                        .group = FIXTURE_GROUP,
                                        .database = DATABASE,
                                        .replica = release->replica,
                                        .purpose = act_purpose_word(release->purpose),
                                        .epoch = release->epoch,
                                        .decision = release->decision,
                                        .reason = "restart",
                                        .order = release->order,
                                        .detail = document};

    return record(escrow, &wanted);
}

static uint64_t promote(struct escrow *escrow, uint64_t epoch, bool mints, const char *replica)
{
    return release(escrow, &(struct wanted_release){.decision = "allow",
                                                    .purpose = PURPOSE_PROMOTE,
                                                    .epoch = epoch,
                                                    .mints = mints,
                                                    .replica = replica});
}

static void receipt(struct escrow *escrow, uint64_t grant, enum act_outcome outcome)
{
    const struct act_receipt said = {.outcome = outcome, .detail = "text"};
    CLEANUP(json_free_p) json_t *detail = ledger_receipt_detail(&said);
    const struct audit_record wanted = {.event = AUDIT_RECEIPT, .grant = grant, .detail = detail};

    record(escrow, &wanted);
}

static void order(struct escrow *escrow, const char *id, int64_t expires_ms)
{
    CLEANUP(json_free_p) json_t *detail = ledger_order_detail(expires_ms);
    const struct audit_record wanted = {.event = AUDIT_ORDER,
                                        .group = FIXTURE_GROUP,
                                        .database = DATABASE,
                                        .purpose = "drill",
                                        .order = id,
                                        .detail = detail};

    record(escrow, &wanted);
}

static void baseline(struct escrow *escrow, uint64_t epoch, enum policy_origin origin,
                     const char *replica)
{
    CLEANUP(cleanup_free) struct ledger_epoch *known = calloc(1, sizeof(*known));
    CLEANUP(json_free_p) json_t *detail = NULL;
    struct audit_record wanted = {
        .event = AUDIT_EPOCH, .group = FIXTURE_GROUP, .replica = replica, .epoch = epoch};

    known->origin = origin;
    known->hint_count = 1;
    strcpy(known->hints[0].database, DATABASE); /* NOLINT: fits */
    known->hints[0].hints.has_sequence_number = true;
    known->hints[0].hints.sequence_number = (int64_t)epoch;
    detail = ledger_epoch_detail(known);
    wanted.detail = detail;
    record(escrow, &wanted);
}

/* One of everything that the fold knows. */
static void fill_log(struct escrow *escrow)
{
    uint64_t grant;

    record(escrow, &(struct audit_record){.event = AUDIT_START});
    publish(escrow);
    baseline(escrow, 1, POLICY_ORIGIN_BASELINE, "sql1");
    deposit(escrow, 1);
    release(escrow,
            &(struct wanted_release){
                .decision = "deny", .purpose = PURPOSE_PROMOTE, .epoch = 1, .replica = "sql1"});
    release(escrow, &(struct wanted_release){.decision = "needs_approval",
                                             .purpose = PURPOSE_PROMOTE,
                                             .epoch = 1,
                                             .replica = "sql1"});
    grant = promote(escrow, 2, true, "sql2");
    record(escrow, &(struct audit_record){.event = AUDIT_UNFINISHED, .grant = grant});
    grant = promote(escrow, 2, false, "sql2");
    receipt(escrow, grant, OUTCOME_OPENED);
    deposit(escrow, 2);
    order(escrow, "order-1", NOW_MS + 1);
    release(escrow, &(struct wanted_release){.decision = "allow",
                                             .purpose = PURPOSE_DRILL,
                                             .epoch = 2,
                                             .replica = "sql2",
                                             .order = "order-1"});
    baseline(escrow, 3, POLICY_ORIGIN_OBSERVED, "sql1");
}

static int append_row(void *argument, int columns, char **values, char **names)
{
    FILE *file = argument;

    for (int i = 0; i < columns; i++)
        fprintf(file, "%s=%s|", names[i], values[i] ? values[i] : "NULL");
    fputc('\n', file);
    return 0;
}

/* All rows of all tables but the private areas, which the log does not hold; owned by the caller.
 */
static char *dump(struct escrow *escrow)
{
    static const char *const queries[] = {
        "SELECT sequence, hex(hash), time_ms FROM folded",
        "SELECT * FROM roster",
        "SELECT kind, group_name, hex(counter), hex(subject), epoch, document FROM approvals"
        " ORDER BY 1, 2, 3, 4",
        "SELECT * FROM secrets ORDER BY id",
        "SELECT hex(object), secret, version, state, hex(public), hex(payload), sequence, time_ms"
        " FROM versions ORDER BY version",
        "SELECT hex(object), hex(recipient), hex(inner_key), hex(duplicate), hex(seed) FROM blobs"
        " ORDER BY 1, 2",
        "SELECT * FROM groups ORDER BY 1",
        "SELECT * FROM hints ORDER BY 1, 2",
        "SELECT * FROM grants ORDER BY 1",
        "SELECT * FROM requests ORDER BY 1",
        "SELECT * FROM orders ORDER BY 1",
    };
    char path[PATH_BYTES];
    char *text;
    size_t len;
    FILE *file = open_memstream(&text, &len);
    sqlite3 *database;

    close_escrow(escrow);
    path_in(escrow, "store.sqlite", path);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        assert_int_equal(sqlite3_exec(database, queries[i], append_row, file, NULL), SQLITE_OK);
    sqlite3_close(database);
    fclose(file);
    return text;
}

static void policy_now(struct escrow *escrow, struct policy_ledger *ret_ledger)
{
    assert_int_equal(ledger_policy(escrow->ledger, &subject, NOW_MS, ret_ledger), ESCROW_OK);
}

static void test_rebuilt_from_the_log(void **state)
{
    struct escrow *escrow = *state;
    CLEANUP(cleanup_free) char *incremental = NULL, *rebuilt = NULL;

    fill_log(escrow);
    incremental = dump(escrow);
    assert_non_null(strstr(incremental, "order-1"));
    remove_store(escrow);
    open_escrow(escrow);
    rebuilt = dump(escrow);
    assert_string_equal(rebuilt, incremental);
}

/* The log's lines, so that a prefix can be put in its place. */
struct lines {
    size_t count;
    char *text[LINES_MAX];
};

static void read_lines(const struct escrow *escrow, struct lines *lines)
{
    char path[PATH_BYTES];
    size_t cap = 0;
    FILE *file;

    path_in(escrow, SEGMENT, path);
    file = fopen(path, "re");
    assert_non_null(file);
    memset(lines, 0, sizeof(*lines));
    while (getline(&lines->text[lines->count], &cap, file) > 0) {
        lines->count++;
        cap = 0;
        assert_true(lines->count < LINES_MAX);
    }
    fclose(file);
}

static void free_lines(struct lines *lines)
{
    for (size_t i = 0; i < LINES_MAX; i++)
        free(lines->text[i]);
}

static void write_lines(const struct escrow *escrow, const struct lines *lines, size_t count)
{
    char path[PATH_BYTES];
    FILE *file;

    path_in(escrow, SEGMENT, path);
    file = fopen(path, "we");
    assert_non_null(file);
    for (size_t i = 0; i < count; i++)
        assert_true(fputs(lines->text[i], file) >= 0);
    fclose(file);
}

/* A keeper killed after any record continues where it was. */
static void test_every_prefix_continues(void **state)
{
    struct escrow *escrow = *state;
    CLEANUP(cleanup_free) char *incremental = NULL;
    CLEANUP(free_lines) struct lines lines;
    struct audit_reading reading;

    fill_log(escrow);
    incremental = dump(escrow);
    read_lines(escrow, &lines);
    for (size_t i = 0; i <= lines.count; i++) {
        CLEANUP(cleanup_free) char *continued = NULL;

        remove_store(escrow);
        write_lines(escrow, &lines, i);
        assert_int_equal(replay(escrow, &reading), ESCROW_OK);
        assert_int_equal(reading.end.sequence, i);
        write_lines(escrow, &lines, lines.count);
        assert_int_equal(replay(escrow, &reading), ESCROW_OK);
        continued = dump(escrow);
        assert_string_equal(continued, incremental);
    }
}

static void test_store_ahead_of_the_log_is_tampering(void **state)
{
    struct escrow *escrow = *state;
    CLEANUP(free_lines) struct lines lines;
    struct audit_reading reading;

    fill_log(escrow);
    close_escrow(escrow);
    read_lines(escrow, &lines);
    write_lines(escrow, &lines, lines.count - 1);
    assert_int_equal(replay(escrow, &reading), ESCROW_ERR_MALFORMED);
    write_lines(escrow, &lines, 0);
    assert_int_equal(replay(escrow, &reading), ESCROW_ERR_MALFORMED);
    write_lines(escrow, &lines, lines.count);
    assert_int_equal(replay(escrow, &reading), ESCROW_OK);
}

/* A whole log that verifies by itself, but is not the one that the store was built from. */
static void test_another_log_is_tampering(void **state)
{
    struct escrow *escrow = *state;
    CLEANUP(free_lines) struct lines lines;
    struct audit_reading reading;
    char path[PATH_BYTES], aside[PATH_BYTES];

    record(escrow, &(struct audit_record){.event = AUDIT_START, .actor = "one"});
    close_escrow(escrow);
    path_in(escrow, SEGMENT, path);
    assert_int_equal(unlink(path), 0);
    path_in(escrow, "store.sqlite", path);
    path_in(escrow, "aside", aside);
    assert_int_equal(rename(path, aside), 0);
    open_escrow(escrow);
    record(escrow, &(struct audit_record){.event = AUDIT_START, .actor = "two"});
    close_escrow(escrow);
    assert_int_equal(rename(aside, path), 0);
    read_lines(escrow, &lines);
    assert_int_equal(lines.count, 1);
    assert_int_equal(replay(escrow, &reading), ESCROW_ERR_MALFORMED);
}

static void test_what_policy_decide_is_told(void **state)
{
    struct escrow *escrow = *state;
    struct policy_ledger ledger;
    uint64_t grant;

    policy_now(escrow, &ledger);
    assert_false(ledger.has_record);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_NONE);

    baseline(escrow, 1, POLICY_ORIGIN_BASELINE, "sql1");
    policy_now(escrow, &ledger);
    assert_true(ledger.has_record);
    assert_string_equal(ledger.primary, "sql1");
    assert_int_equal(ledger.epoch, 1);
    assert_int_equal(ledger.origin, POLICY_ORIGIN_BASELINE);
    assert_true(ledger.hints.has_sequence_number);
    assert_int_equal(ledger.hints.sequence_number, 1);

    grant = promote(escrow, 2, true, "sql2");
    promote(escrow, 2, false, "sql2");
    policy_now(escrow, &ledger);
    assert_string_equal(ledger.primary, "sql2");
    assert_int_equal(ledger.epoch, 2);
    assert_int_equal(ledger.origin, POLICY_ORIGIN_GRANTED);
    assert_string_equal(ledger.hints.recovery_lsn, "42");
    assert_int_equal(ledger.grant.state, POLICY_GRANT_UNSETTLED);
    assert_int_equal(ledger.grant.requests, 2);
    assert_string_equal(ledger.grant.replica, "sql2");
    assert_in_range(ledger.epoch_age_ms, 1, NOW_MS);

    record(escrow, &(struct audit_record){.event = AUDIT_UNFINISHED, .grant = grant});
    policy_now(escrow, &ledger);
    assert_int_equal(ledger.grant.requests, 1);

    receipt(escrow, grant + 1, OUTCOME_FAILED);
    policy_now(escrow, &ledger);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_UNSETTLED);

    receipt(escrow, grant + 1, OUTCOME_OPENED);
    policy_now(escrow, &ledger);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_SETTLED);

    /* A restart that the policy allows begins a grant of its own in the same epoch. */
    promote(escrow, 2, false, "sql2");
    policy_now(escrow, &ledger);
    assert_int_equal(ledger.grant.state, POLICY_GRANT_UNSETTLED);
    assert_int_equal(ledger.grant.requests, 1);
}

static void test_brake_counts_the_last_hour(void **state)
{
    struct escrow *escrow = *state;
    struct policy_ledger ledger;
    int64_t now_ms;
    uint64_t grant;

    promote(escrow, 1, true, "sql1");
    grant = promote(escrow, 1, false, "sql1");
    now_ms = audit_end(escrow->audit)->time_ms;
    assert_int_equal(ledger_policy(escrow->ledger, &subject, now_ms, &ledger), ESCROW_OK);
    assert_int_equal(ledger.releases_last_hour, 2);
    assert_int_equal(ledger_policy(escrow->ledger, &subject, now_ms + 3600001, &ledger), ESCROW_OK);
    assert_int_equal(ledger.releases_last_hour, 0);
    record(escrow, &(struct audit_record){.event = AUDIT_UNFINISHED, .grant = grant});
    assert_int_equal(ledger_policy(escrow->ledger, &subject, now_ms, &ledger), ESCROW_OK);
    assert_int_equal(ledger.releases_last_hour, 1);
}

static void test_versions(void **state)
{
    struct escrow *escrow = *state;
    struct store_version versions[ACT_OBJECTS_MAX];
    const struct tpm_private private_area = {.len = 3, .bytes = "abc"};
    struct tpm_name recipient = fixture_name(escrow->keys->storage[0]);
    struct wrap_blob blob;
    size_t count;
    uint32_t next;

    publish(escrow);
    deposit(escrow, 1);
    deposit(escrow, 2);
    deposit(escrow, 3);
    assert_int_equal(store_next_version(escrow->store, &subject, &next), ESCROW_OK);
    assert_int_equal(next, 4);
    assert_int_equal(
        store_live_versions(escrow->store, &subject, versions, ARRAY_LEN(versions), &count),
        ESCROW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(versions[0].version, 3);
    assert_int_equal(versions[0].state, SECRET_ACTIVE);
    assert_int_equal(versions[1].version, 2);
    assert_int_equal(versions[1].state, SECRET_RETIRED);
    assert_int_equal(versions[2].version, 1);
    assert_int_equal(versions[0].private_area.len, 0);

    assert_int_equal(store_blob(escrow->store, &escrow->object, &recipient, &blob), ESCROW_OK);
    recipient.bytes[5] ^= 1;
    assert_int_equal(store_blob(escrow->store, &escrow->object, &recipient, &blob),
                     ESCROW_ERR_NOT_FOUND);
    assert_int_equal(store_next_unimported(escrow->store, versions), ESCROW_OK);
    assert_int_equal(versions[0].version, 1);
    assert_int_equal(store_set_private(escrow->store, &versions[0].object, &private_area),
                     ESCROW_OK);
    assert_int_equal(store_next_unimported(escrow->store, versions), ESCROW_OK);
    assert_int_equal(versions[0].version, 2);
}

static void test_trust(void **state)
{
    struct escrow *escrow = *state;
    struct tpm_name counter = fixture_name(escrow->keys->audit[0]);
    struct tpm_name agent = fixture_name(escrow->keys->agent);
    struct approval approval;

    assert_null(ledger_roster(escrow->ledger));
    publish(escrow);
    assert_int_equal(roster_version(ledger_roster(escrow->ledger)), 1);
    assert_int_equal(store_node_approval(escrow->store, FIXTURE_GROUP, &counter, &agent, &approval),
                     ESCROW_OK);
    assert_int_equal(approval.epoch, 3);
    assert_int_equal(store_node_approval(escrow->store, FIXTURE_GROUP, &agent, &agent, &approval),
                     ESCROW_ERR_NOT_FOUND);
    open_escrow(escrow);
    assert_int_equal(roster_version(ledger_roster(escrow->ledger)), 1);
}

static void test_orders_and_requests(void **state)
{
    struct escrow *escrow = *state;
    const struct store_request wanted = {.subject = subject,
                                         .replica = "sql1",
                                         .purpose = PURPOSE_PROMOTE,
                                         .epoch = 1,
                                         .reason = REASON_RESTART};
    struct wanted_release needs = {
        .decision = "needs_approval", .purpose = PURPOSE_PROMOTE, .epoch = 1, .replica = "sql1"};
    struct store_order found = {0};
    uint64_t number, first;

    order(escrow, "order-1", 1000);
    order(escrow, "order-2", 3000);
    assert_int_equal(store_next_order(escrow->store, FIXTURE_GROUP, 500, 0, &found), ESCROW_OK);
    assert_string_equal(found.id, "order-1");
    assert_int_equal(store_next_order(escrow->store, FIXTURE_GROUP, 1000, 0, &found), ESCROW_OK);
    assert_string_equal(found.id, "order-2");
    release(escrow, &(struct wanted_release){.decision = "allow",
                                             .purpose = PURPOSE_DRILL,
                                             .epoch = 1,
                                             .replica = "sql1",
                                             .order = "order-2"});
    assert_int_equal(store_next_order(escrow->store, FIXTURE_GROUP, 1000, 0, &found),
                     ESCROW_ERR_NOT_FOUND);

    first = release(escrow, &needs);
    release(escrow, &needs);
    assert_int_equal(store_request_number(escrow->store, &wanted, &number), ESCROW_OK);
    assert_int_equal(number, first);
    promote(escrow, 1, true, "sql1");
    assert_int_equal(store_request_number(escrow->store, &wanted, &number), ESCROW_ERR_NOT_FOUND);
}

/* What cannot be folded leaves nothing of its batch behind. */
static void test_a_batch_is_folded_whole_or_not(void **state)
{
    struct escrow *escrow = *state;
    CLEANUP(cleanup_free) char *compact = NULL;
    struct audit_record wanted = {.event = AUDIT_DEPOSIT};
    struct audit_chain folded;
    uint32_t next;

    publish(escrow);
    compact = deposit_act(escrow, 1);
    wanted.act = compact;
    assert_int_equal(audit_append(escrow->audit, &wanted, NULL, NULL), ESCROW_OK);
    /* The same version again. */
    assert_int_equal(audit_append(escrow->audit, &wanted, NULL, NULL), ESCROW_OK);
    assert_int_equal(audit_commit(escrow->audit), ESCROW_ERR_STORE);
    assert_null(audit_trouble(escrow->audit));
    assert_int_equal(store_folded(escrow->store, &folded), ESCROW_OK);
    assert_int_equal(folded.sequence, 1);
    assert_int_equal(store_next_version(escrow->store, &subject, &next), ESCROW_OK);
    assert_int_equal(next, 1);
}

/* The log is evidence, not authority: an act in it must verify by the roster of its time. */
static void test_forged_act_is_not_folded(void **state)
{
    struct escrow *escrow = *state;
    CLEANUP(act_free_p) struct act *act = act_new(ACT_DEPOSIT);
    CLEANUP(key_free_p) EVP_PKEY *stranger = key_generate();
    CLEANUP(cleanup_free) char *compact = NULL;
    struct audit_record wanted = {.event = AUDIT_DEPOSIT};

    publish(escrow);
    fill_deposit(escrow, act, 1);
    compact = sign(escrow, act, stranger);
    wanted.act = compact;
    assert_int_equal(audit_append(escrow->audit, &wanted, NULL, NULL), ESCROW_OK);
    assert_int_equal(audit_commit(escrow->audit), ESCROW_ERR_STORE);
}

static void test_second_keeper_is_refused(void **state)
{
    struct escrow *escrow = *state;
    struct store *second;
    char path[PATH_BYTES];

    publish(escrow);
    path_in(escrow, "store.sqlite", path);
    assert_int_equal(store_open(path, &second), ESCROW_ERR_STORE);
}

#define ESCROW_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ESCROW_TEST(test_rebuilt_from_the_log),
        ESCROW_TEST(test_every_prefix_continues),
        ESCROW_TEST(test_store_ahead_of_the_log_is_tampering),
        ESCROW_TEST(test_another_log_is_tampering),
        ESCROW_TEST(test_what_policy_decide_is_told),
        ESCROW_TEST(test_brake_counts_the_last_hour),
        ESCROW_TEST(test_versions),
        ESCROW_TEST(test_trust),
        ESCROW_TEST(test_orders_and_requests),
        ESCROW_TEST(test_a_batch_is_folded_whole_or_not),
        ESCROW_TEST(test_forged_act_is_not_folded),
        ESCROW_TEST(test_second_keeper_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
