/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/kill_judge.h"

#include "libescrow/cleanup.h"

#include <sqlite3.h>

#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS_MAX 2048

struct grant {
    const json_t *record;
    bool is_unfinished, has_outcome;
    uint64_t settled_by, receipt, judged; /* receipt: that waits for its proof */
};

struct order {
    const json_t *record;
    uint64_t used_by;
};

struct request {
    const json_t *record;
    bool is_open, is_over; /* over: its time */
};

/* The ledger, of one group with one database. */
struct fold {
    uint64_t folded, roster, epoch;
    const char *group, *primary; /* NULL before the first epoch */
    struct grant grants[ROWS_MAX];
    struct order orders[ROWS_MAX];
    struct request requests[ROWS_MAX];
    const json_t *deposits[ROWS_MAX], *approvals[ROWS_MAX];
    size_t grant_count, order_count, request_count, deposit_count, approval_count;
};

static char wrong[400];

static const char *text_of(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));

    return text ? text : "";
}

static uint64_t number_of(const json_t *record, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(record, key));
}

static bool is_word(const json_t *record, const char *key, const char *word)
{
    return strcmp(text_of(record, key), word) == 0;
}

static bool is_same(const json_t *one, const json_t *other, const char *key)
{
    return json_equal(json_object_get(one, key), json_object_get(other, key)) ||
           (!json_object_get(one, key) && !json_object_get(other, key));
}

/* ---- the fold ---- */

/* Of the watch, or of an admin. */
static bool is_epoch(const json_t *record)
{
    return is_word(record, "event", "epoch") ||
           (is_word(record, "event", "rebaseline") && is_word(record, "decision", "allow"));
}

/* An approval for the request would not be one for a release in the epoch that has begun. */
static bool is_past(const struct fold *fold, const json_t *request, bool is_baseline)
{
    const uint64_t epoch = number_of(request, "epoch");

    if (epoch != fold->epoch || !is_word(request, "purpose", "promote"))
        return epoch < fold->epoch;
    return is_baseline || !is_word(request, "replica", fold->primary);
}

static void begin_epoch(struct fold *fold, const json_t *record)
{
    const bool is_baseline = is_word(json_object_get(record, "detail"), "origin", "baseline");

    fold->group = text_of(record, "group");
    fold->primary = text_of(record, "replica");
    fold->epoch = number_of(record, "epoch");
    for (size_t i = 0; i < fold->request_count; i++)
        fold->requests[i].is_open &= !is_past(fold, fold->requests[i].record, is_baseline);
}

static void fold_allow(struct fold *fold, const json_t *record)
{
    fold->grants[fold->grant_count++] = (struct grant){.record = record};
    if (json_is_true(json_object_get(json_object_get(record, "detail"), "mints_epoch")))
        begin_epoch(fold, record);
    for (size_t i = 0; i < fold->request_count; i++)
        fold->requests[i].is_open = false;
    for (size_t i = 0; i < fold->order_count; i++) {
        struct order *order = &fold->orders[i];

        if (is_same(order->record, record, "order") && !order->used_by)
            order->used_by = number_of(record, "sequence");
    }
}

/* The same request again is still the first one. */
static bool is_repeat(const json_t *one, const json_t *other)
{
    const json_t *a = json_object_get(json_object_get(one, "detail"), "request");
    const json_t *b = json_object_get(json_object_get(other, "detail"), "request");

    return is_same(a, b, "recipient") && is_same(a, b, "rules") && is_same(one, other, "objects") &&
           is_same(one, other, "epoch");
}

static void fold_request(struct fold *fold, const json_t *record)
{
    for (size_t i = 0; i < fold->request_count; i++) {
        struct request *request = &fold->requests[i];

        if (!request->is_open || !is_same(request->record, record, "replica") ||
            !is_same(request->record, record, "purpose"))
            continue;
        if (!request->is_over && is_repeat(request->record, record))
            return;
        request->is_open = false;
    }
    fold->requests[fold->request_count++] = (struct request){record, true, false};
}

static void fold_release(struct fold *fold, const json_t *record)
{
    if (is_word(record, "decision", "allow"))
        fold_allow(fold, record);
    else if (is_word(record, "decision", "needs_approval"))
        fold_request(fold, record);
}

static struct grant *find_grant(struct fold *fold, uint64_t sequence)
{
    for (size_t i = 0; i < fold->grant_count; i++) {
        if (number_of(fold->grants[i].record, "sequence") == sequence)
            return &fold->grants[i];
    }
    errx(1, "the log names grant %llu, which it does not have", (unsigned long long)sequence);
}

/* The replica proved it: settled is the grant, and what was granted before it for the same. */
static void settle(struct fold *fold, const struct grant *grant, const json_t *record)
{
    for (size_t i = 0; i < fold->grant_count; i++) {
        struct grant *other = &fold->grants[i];

        if (other <= grant && !other->settled_by &&
            is_same(other->record, grant->record, "epoch") &&
            is_same(other->record, grant->record, "purpose") &&
            is_same(other->record, grant->record, "order")) {
            other->settled_by = number_of(record, "sequence");
            other->receipt = 0;
        }
    }
}

static void fold_receipt(struct fold *fold, const json_t *record)
{
    struct grant *grant = find_grant(fold, number_of(record, "grant"));
    const bool is_good = !is_word(json_object_get(record, "detail"), "outcome", "failed");

    grant->has_outcome = true;
    grant->judged = 0;
    grant->receipt = is_good && !grant->settled_by ? number_of(record, "sequence") : 0;
}

static void fold_settle(struct fold *fold, const json_t *record)
{
    struct grant *grant = find_grant(fold, number_of(record, "grant"));

    if (is_word(record, "reason", "grant_proved"))
        settle(fold, grant, record);
    else if (number_of(json_object_get(record, "detail"), "receipt") == grant->receipt)
        grant->judged = number_of(record, "sequence");
}

static void fold_expired(struct fold *fold, const json_t *record)
{
    const bool is_moot = is_word(record, "reason", "master_key_opens");

    for (size_t i = 0; i < fold->request_count; i++) {
        struct request *request = &fold->requests[i];

        if (number_of(request->record, "sequence") ==
            number_of(json_object_get(record, "detail"), "request")) {
            request->is_over = true;
            request->is_open = request->is_open && !is_moot;
        }
    }
}

static void fold_record(struct fold *fold, const json_t *record)
{
    fold->folded = number_of(record, "sequence");
    if (fold->folded >= ROWS_MAX)
        errx(1, "the log is too long for the judge");
    if (is_word(record, "event", "publish"))
        fold->roster = number_of(record, "roster");
    else if (is_word(record, "event", "deposit"))
        fold->deposits[fold->deposit_count++] = record;
    else if (is_word(record, "event", "release"))
        fold_release(fold, record);
    else if (is_word(record, "event", "unfinished"))
        find_grant(fold, number_of(record, "grant"))->is_unfinished = true;
    else if (is_word(record, "event", "receipt"))
        fold_receipt(fold, record);
    else if (is_word(record, "event", "settle"))
        fold_settle(fold, record);
    else if (is_word(record, "event", "expired"))
        fold_expired(fold, record);
    else if (is_word(record, "event", "order"))
        fold->orders[fold->order_count++] = (struct order){.record = record};
    else if (is_epoch(record))
        begin_epoch(fold, record);
    else if (is_word(record, "event", "approve"))
        fold->approvals[fold->approval_count++] = record;
}

/* ---- as text ---- */

static void print_grant(FILE *out, const struct grant *grant)
{
    const char *order = text_of(grant->record, "order");

    fprintf(
        out, "grant %llu %s %s %llu %s unfinished %d settled %llu receipt %llu %llu outcome %d\n",
        (unsigned long long)number_of(grant->record, "sequence"), text_of(grant->record, "replica"),
        text_of(grant->record, "actor"), (unsigned long long)number_of(grant->record, "epoch"),
        order[0] ? order : "-", grant->is_unfinished, (unsigned long long)grant->settled_by,
        (unsigned long long)grant->receipt, (unsigned long long)grant->judged, grant->has_outcome);
}

static void print_fold(FILE *out, const struct fold *fold)
{
    fprintf(out, "folded %llu\n", (unsigned long long)fold->folded);
    if (fold->roster)
        fprintf(out, "roster %llu\n", (unsigned long long)fold->roster);
    if (fold->group)
        fprintf(out, "group %s %s %llu\n", fold->group, fold->primary,
                (unsigned long long)fold->epoch);
    for (size_t i = 0; i < fold->deposit_count; i++)
        fprintf(
            out, "version %lld %s\n",
            json_integer_value(json_array_get(json_object_get(fold->deposits[i], "versions"), 0)),
            json_string_value(json_array_get(json_object_get(fold->deposits[i], "objects"), 0)));
    for (size_t i = 0; i < fold->grant_count; i++)
        print_grant(out, &fold->grants[i]);
    for (size_t i = 0; i < fold->order_count; i++)
        fprintf(out, "order %s %llu\n", text_of(fold->orders[i].record, "order"),
                (unsigned long long)fold->orders[i].used_by);
    for (size_t i = 0; i < fold->request_count; i++)
        fprintf(out, "request %llu %s %llu %s open %d act %d\n",
                (unsigned long long)number_of(fold->requests[i].record, "sequence"),
                text_of(fold->requests[i].record, "replica"),
                (unsigned long long)number_of(fold->requests[i].record, "epoch"),
                text_of(fold->requests[i].record, "reason"), fold->requests[i].is_open,
                fold->requests[i].is_open && !fold->requests[i].is_over);
    for (size_t i = 0; i < fold->approval_count; i++)
        fprintf(
            out, "approved %llu %s\n",
            (unsigned long long)number_of(json_object_get(fold->approvals[i], "detail"), "request"),
            text_of(fold->approvals[i], "actor"));
}

static char *fold_text(const struct oracle *oracle)
{
    CLEANUP(cleanup_free) struct fold *fold = calloc(1, sizeof(*fold));
    const json_t *record;
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!fold || !out)
        err(1, "judge");
    for (size_t i = 0; (record = oracle_record(oracle, i)) != NULL; i++)
        fold_record(fold, record);
    print_fold(out, fold);
    fclose(out);
    return text;
}

/* ---- the store ---- */

static int print_row(void *argument, int columns, char **values, char **names)
{
    (void)columns;
    (void)names;
    fprintf(argument, "%s\n", values[0] ? values[0] : "NULL");
    return 0;
}

static void copy_file(const char *from, const char *to, const char *suffix)
{
    char paths[2][500], buffer[65536];
    FILE *in, *out;
    size_t len;

    snprintf(paths[0], sizeof(paths[0]), "%s%s", from, suffix);
    snprintf(paths[1], sizeof(paths[1]), "%s%s", to, suffix);
    unlink(paths[1]);
    in = fopen(paths[0], "re");
    if (!in)
        return;
    out = fopen(paths[1], "we");
    while (out && (len = fread(buffer, 1, sizeof(buffer), in)) > 0)
        fwrite(buffer, 1, len, out);
    fclose(in);
    if (!out || fclose(out) != 0)
        err(1, "%s", paths[1]);
}

static char *store_text(const char *path)
{
    static const char queries[] =
        "SELECT 'folded ' || sequence FROM folded;"
        "SELECT 'roster ' || version FROM roster;"
        "SELECT 'group ' || group_name || ' ' || replica || ' ' || epoch FROM groups;"
        "SELECT 'version ' || version || ' ' || lower(hex(object)) FROM versions ORDER BY version;"
        "SELECT 'grant ' || sequence || ' ' || replica || ' ' || actor || ' ' || epoch || ' ' ||"
        " coalesce(order_id, '-') || ' unfinished ' || is_unfinished || ' settled ' ||"
        " coalesce(settled_by, 0) || ' receipt ' || coalesce(receipt, 0) || ' ' ||"
        " coalesce(judged, 0) || ' outcome ' || (outcome IS NOT NULL)"
        " FROM grants ORDER BY sequence;"
        "SELECT 'order ' || id || ' ' || coalesce(used_by, 0) FROM orders ORDER BY sequence;"
        "SELECT 'request ' || sequence || ' ' || replica || ' ' || epoch || ' ' || reason || ' ' ||"
        " 'open ' || is_open || ' act ' || (act IS NOT NULL) FROM requests ORDER BY sequence;"
        "SELECT 'approved ' || request || ' ' || identity FROM request_approvals"
        " ORDER BY request, identity;";
    sqlite3 *database;
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    /* Not by the VFS of steps.h. */
    if (!out || sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE, "unix") != SQLITE_OK)
        errx(1, "%s cannot be opened", path);
    if (sqlite3_exec(database, queries, print_row, out, NULL) != SQLITE_OK)
        fprintf(out, "%s\n", sqlite3_errmsg(database));
    sqlite3_close(database);
    fclose(out);
    return text;
}

/* The first line in which they differ. */
static const char *difference(char *log, char *store)
{
    char *in_log, *in_store;

    do {
        in_log = strsep(&log, "\n");
        in_store = strsep(&store, "\n");
    } while (in_log && in_store && strcmp(in_log, in_store) == 0);
    if (!in_log && !in_store)
        return NULL;
    snprintf(wrong, sizeof(wrong), "by the log \"%.180s\", by the store \"%.180s\"",
             in_log ? in_log : "", in_store ? in_store : "");
    return wrong;
}

const char *judge_ledger(const struct oracle *oracle, const char *store_path, const char *copy_path)
{
    CLEANUP(cleanup_free) char *by_log = fold_text(oracle), *by_store = NULL;

    copy_file(store_path, copy_path, "");
    copy_file(store_path, copy_path, "-wal");
    by_store = store_text(copy_path);
    return difference(by_log, by_store);
}

/* ---- what the log may say ---- */

/* The promotions of one epoch since one was settled. */
struct run {
    uint64_t epoch;
    const char *primary;
    unsigned grants;
};

static const char *fault(const char *what, const json_t *record)
{
    snprintf(wrong, sizeof(wrong), "%s (record %llu)", what,
             (unsigned long long)number_of(record, "sequence"));
    return wrong;
}

static bool is_unfinished(const struct oracle *oracle, uint64_t sequence)
{
    const json_t *record;

    for (size_t i = sequence; (record = oracle_record(oracle, i)) != NULL; i++) {
        if (is_word(record, "event", "unfinished") && number_of(record, "grant") == sequence)
            return true;
    }
    return false;
}

static const char *judge_grant(const struct oracle *oracle, const struct kill_rules *rules,
                               const json_t *record, struct run *run)
{
    if (number_of(record, "epoch") != run->epoch)
        return fault("a grant of another epoch", record);
    if (!is_word(record, "replica", run->primary))
        return fault("a second grantee of an epoch", record);
    if (!is_word(record, "purpose", "promote"))
        return NULL;
    if (!is_unfinished(oracle, number_of(record, "sequence")))
        run->grants++;
    return run->grants > rules->retries + 1 ? fault("more grants than retries", record) : NULL;
}

static const char *judge_record(const struct oracle *oracle, const struct kill_rules *rules,
                                const json_t *record, struct run *run)
{
    const bool is_grant =
        is_word(record, "event", "release") && is_word(record, "decision", "allow");

    if (is_epoch(record) || (is_grant && json_is_true(json_object_get(
                                             json_object_get(record, "detail"), "mints_epoch")))) {
        if (number_of(record, "epoch") != run->epoch + 1)
            return fault("an epoch that is not the next", record);
        *run = (struct run){run->epoch + 1, text_of(record, "replica"), 0};
    }
    if (is_word(record, "event", "settle") && is_word(record, "reason", "grant_proved") &&
        is_word(oracle_record(oracle, number_of(record, "grant") - 1), "purpose", "promote"))
        run->grants = 0;
    return is_grant ? judge_grant(oracle, rules, record, run) : NULL;
}

const char *judge_epochs(const struct oracle *oracle, const struct kill_rules *rules)
{
    struct run run = {0, "", 0};
    const char *found = NULL;
    const json_t *record;

    for (size_t i = 0; !found && (record = oracle_record(oracle, i)) != NULL; i++)
        found = judge_record(oracle, rules, record, &run);
    return found;
}
