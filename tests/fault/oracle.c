/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/oracle.h"

#include <openssl/sha.h>

#include <dirent.h>
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct acknowledged {
    uint64_t sequence;
    char event[16];
    char *act;
    int64_t synced;
};

struct record {
    json_t *json;
    int64_t end; /* of its line in its segment */
    unsigned unfinished;
};

struct oracle {
    char folder[300];
    struct acknowledged *acknowledged;
    size_t acknowledged_count;
    struct record *records;
    size_t count;
    char wrong[400];
};

struct oracle *oracle_new(const char *audit_folder)
{
    struct oracle *oracle = calloc(1, sizeof(*oracle));

    if (!oracle)
        err(1, "oracle");
    snprintf(oracle->folder, sizeof(oracle->folder), "%s", audit_folder);
    return oracle;
}

static void forget_records(struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->count; i++)
        json_decref(oracle->records[i].json);
    free(oracle->records);
    oracle->records = NULL;
    oracle->count = 0;
}

void oracle_free(struct oracle *oracle)
{
    forget_records(oracle);
    for (size_t i = 0; i < oracle->acknowledged_count; i++)
        free(oracle->acknowledged[i].act);
    free(oracle->acknowledged);
    free(oracle);
}

static const char *text_of(const struct record *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record->json, key));

    return text ? text : "";
}

static uint64_t number_of(const struct record *record, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(record->json, key));
}

/* ---- reading ---- */

static bool is_chained(const struct oracle *oracle, const json_t *record, const uint8_t hash[32])
{
    const char *previous = json_string_value(json_object_get(record, "previous"));
    char expected[65];

    if ((size_t)json_integer_value(json_object_get(record, "sequence")) != oracle->count + 1)
        return false;
    for (size_t i = 0; i < 32; i++)
        snprintf(expected + 2 * i, 3, "%02x", hash[i]);
    return previous && strcmp(previous, expected) == 0;
}

/* Lines of one segment; an unfinished last line is nobody's yet. */
static bool read_segment(struct oracle *oracle, const char *path, uint8_t hash[32])
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    int64_t end = 0;
    ssize_t len;
    bool is_good = file != NULL;

    while (is_good && (len = getline(&line, &cap, file)) > 0 && line[len - 1] == '\n') {
        json_t *json = json_loadb(line, (size_t)len, 0, NULL);

        if (!json || !is_chained(oracle, json, hash)) {
            snprintf(oracle->wrong, sizeof(oracle->wrong), "record %zu does not follow",
                     oracle->count + 1);
            json_decref(json);
            is_good = false;
            break;
        }
        end += len;
        SHA256((const unsigned char *)line, (size_t)len, hash);
        oracle->records = reallocarray(oracle->records, oracle->count + 1, sizeof(struct record));
        oracle->records[oracle->count++] = (struct record){.json = json, .end = end};
    }
    free(line);
    if (file)
        fclose(file);
    return is_good;
}

static int is_segment(const struct dirent *entry)
{
    return strstr(entry->d_name, ".jsonl") != NULL;
}

static bool read_log(struct oracle *oracle)
{
    struct dirent **names = NULL;
    uint8_t hash[32] = {0};
    int count = scandir(oracle->folder, &names, is_segment, alphasort);
    bool is_good = count >= 0;

    forget_records(oracle);
    for (int i = 0; i < count; i++) {
        char path[600];

        snprintf(path, sizeof(path), "%s/%s", oracle->folder, names[i]->d_name);
        is_good = is_good && read_segment(oracle, path, hash);
        free(names[i]);
    }
    free(names);
    return is_good;
}

/* ---- judging ---- */

static struct record *find(const struct oracle *oracle, uint64_t sequence)
{
    return sequence >= 1 && sequence <= oracle->count ? &oracle->records[sequence - 1] : NULL;
}

static bool wrong(struct oracle *oracle, const char *what, uint64_t sequence)
{
    snprintf(oracle->wrong, sizeof(oracle->wrong), "%s (record %llu)", what,
             (unsigned long long)sequence);
    return false;
}

static bool is_allowed(const struct record *record)
{
    return strcmp(text_of(record, "event"), "release") == 0 &&
           strcmp(text_of(record, "decision"), "allow") == 0;
}

static bool check_one(struct oracle *oracle, const struct acknowledged *acknowledged)
{
    const struct record *record = find(oracle, acknowledged->sequence);

    if (!record)
        return wrong(oracle, "acknowledged, but not in the log", acknowledged->sequence);
    if (record->end > acknowledged->synced)
        return wrong(oracle, "acknowledged before it was on disk", acknowledged->sequence);
    if (strcmp(text_of(record, "event"), acknowledged->event) != 0)
        return wrong(oracle, "acknowledged as another event", acknowledged->sequence);
    if (strcmp(text_of(record, "act"), acknowledged->act) != 0)
        return wrong(oracle, "acknowledged for another act", acknowledged->sequence);
    if (strcmp(acknowledged->event, "release") == 0 && !is_allowed(record))
        return wrong(oracle, "let out, but not allowed", acknowledged->sequence);
    if (record->unfinished)
        return wrong(oracle, "let out, but said to be unfinished", acknowledged->sequence);
    return true;
}

static bool mark_unfinished(struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->count; i++) {
        struct record *grant;

        if (strcmp(text_of(&oracle->records[i], "event"), "unfinished") != 0)
            continue;
        grant = find(oracle, number_of(&oracle->records[i], "grant"));
        if (!grant || !is_allowed(grant) || grant->unfinished++)
            return wrong(oracle, "unfinished, but was not under way", i + 1);
    }
    return true;
}

/* Is anything but a refusal: those name an act that may be anybody's copy. */
static bool is_decision(const struct record *record)
{
    return text_of(record, "act")[0] && strcmp(text_of(record, "event"), "refusal") != 0;
}

static bool check_single_use(struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->count; i++) {
        const struct record *one = &oracle->records[i];

        for (size_t j = i + 1; is_decision(one) && !one->unfinished && j < oracle->count; j++) {
            const struct record *other = &oracle->records[j];

            if (is_decision(other) && strcmp(text_of(one, "act"), text_of(other, "act")) == 0)
                return wrong(oracle, "an act was used twice", j + 1);
            if (is_allowed(one) && is_allowed(other) && !other->unfinished &&
                text_of(one, "order")[0] &&
                strcmp(text_of(one, "order"), text_of(other, "order")) == 0 &&
                strcmp(text_of(one, "replica"), text_of(other, "replica")) != 0)
                return wrong(oracle, "an order served two replicas", j + 1);
        }
    }
    return true;
}

void oracle_acknowledge(struct oracle *oracle, uint64_t sequence, const char *event,
                        const char *act, int64_t synced)
{
    struct acknowledged *added;

    oracle->acknowledged = reallocarray(oracle->acknowledged, oracle->acknowledged_count + 1,
                                        sizeof(*oracle->acknowledged));
    added = &oracle->acknowledged[oracle->acknowledged_count++];
    added->sequence = sequence;
    snprintf(added->event, sizeof(added->event), "%s", event);
    added->act = strdup(act);
    added->synced = synced;
}

const char *oracle_check(struct oracle *oracle)
{
    bool is_good;

    oracle->wrong[0] = '\0';
    is_good = read_log(oracle) && mark_unfinished(oracle) && check_single_use(oracle);
    for (size_t i = 0; is_good && i < oracle->acknowledged_count; i++)
        is_good = check_one(oracle, &oracle->acknowledged[i]);
    if (!is_good && !oracle->wrong[0])
        snprintf(oracle->wrong, sizeof(oracle->wrong), "%s cannot be read", oracle->folder);
    return is_good ? NULL : oracle->wrong;
}

size_t oracle_count(const struct oracle *oracle, const char *event)
{
    size_t count = 0;

    for (size_t i = 0; i < oracle->count; i++)
        count += strcmp(text_of(&oracle->records[i], "event"), event) == 0;
    return count;
}

const json_t *oracle_record(const struct oracle *oracle, size_t at)
{
    return at < oracle->count ? oracle->records[at].json : NULL;
}
