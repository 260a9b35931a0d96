/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/served.h"

#include "libescrow/audit_record.h"
#include "libescrow/json.h"

#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
#define SECOND_MS 1000

struct entry {
    struct tls_item item;
    int64_t told_day; /* 0: never */
};

struct served {
    bool is_known;
    int64_t loaded_ms;
    struct entry entries[TLS_ITEMS_MAX];
    size_t count;
    int64_t day; /* of told */
    size_t told; /* alerts on that day */
};

struct served *served_new(void)
{
    return calloc(1, sizeof(struct served));
}

void served_free(struct served *served)
{
    free(served);
}

static bool is_same(const struct tls_item *a, const struct tls_item *b)
{
    return a->kind == b->kind && a->until_s == b->until_s && strcmp(a->name, b->name) == 0 &&
           strcmp(a->serial, b->serial) == 0;
}

void served_set(struct served *served, const struct ipc_served *said)
{
    struct entry entries[TLS_ITEMS_MAX] = {0};

    for (size_t i = 0; i < said->count; i++) {
        entries[i].item = said->items[i];
        for (size_t j = 0; j < served->count; j++) {
            if (is_same(&entries[i].item, &served->entries[j].item))
                entries[i].told_day = served->entries[j].told_day;
        }
    }
    memcpy(served->entries, entries, sizeof(entries));
    served->count = said->count;
    served->loaded_ms = said->loaded_ms;
    served->is_known = true;
}

/* ---- status ---- */

static json_t *time_json(int64_t time_ms)
{
    char text[AUDIT_TIME_TEXT];

    audit_time_format(time_ms, text);
    return json_string(text);
}

static json_t *item_json(const struct tls_item *item)
{
    json_t *from = time_json(item->from_s * SECOND_MS),
           *until = time_json(item->until_s * SECOND_MS);

    switch (item->kind) {
    case TLS_ITEM_CERTIFICATE:
        return json_pack("{s:s, s:s, s:o, s:o}", "identity", item->name, "serial", item->serial,
                         "not_before", from, "not_after", until);
    case TLS_ITEM_CA:
        return json_pack("{s:s, s:s, s:o, s:o}", "subject", item->name, "serial", item->serial,
                         "not_before", from, "not_after", until);
    case TLS_ITEM_CRL:
        break;
    }
    return json_pack("{s:s, s:o, s:o}", "issuer", item->name, "this_update", from, "next_update",
                     until);
}

static json_t *items_json(const struct served *served, enum tls_item_kind kind)
{
    CLEANUP(json_free_p) json_t *array = json_array();

    for (size_t i = 0; i < served->count; i++) {
        if (served->entries[i].item.kind == kind &&
            json_array_append_new(array, item_json(&served->entries[i].item)))
            return NULL;
    }
    return TAKE(array);
}

json_t *served_json(const struct served *served)
{
    if (!served->is_known)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o}", "loaded", time_json(served->loaded_ms), "certificate",
                     item_json(&served->entries[0].item), "authorities",
                     items_json(served, TLS_ITEM_CA), "lists", items_json(served, TLS_ITEM_CRL));
}

/* ---- alerts ---- */

void served_each_due(const struct served *served, int64_t now_s, served_alert_fn on_due,
                     void *argument)
{
    for (size_t i = 0; i < served->count; i++) {
        const struct tls_item *item = &served->entries[i].item;
        const struct served_alert alert = {item, tls_item_check(item, now_s)};

        if (alert.reason != REASON_NONE && !on_due(&alert, argument))
            return;
    }
}

void served_look(struct served *served, int64_t now_s, served_alert_fn on_alert, void *argument)
{
    int64_t day = now_s / DAY_S;

    if (served->day != day) {
        served->day = day;
        served->told = 0;
    }
    for (size_t i = 0; i < served->count && served->told < TLS_ITEMS_MAX; i++) {
        struct entry *entry = &served->entries[i];
        const struct served_alert alert = {&entry->item, tls_item_check(&entry->item, now_s)};

        if (alert.reason == REASON_NONE || entry->told_day == day || !on_alert(&alert, argument))
            continue;
        entry->told_day = day;
        served->told++;
    }
}

json_t *served_alert_json(const struct served_alert *alert)
{
    static const char *const words[] = {[TLS_ITEM_CERTIFICATE] = "certificate",
                                        [TLS_ITEM_CA] = "authority",
                                        [TLS_ITEM_CRL] = "list"};

    return json_pack("{s:s, s:s, s:s, s:o}", "what", words[alert->item->kind], "name",
                     alert->item->name, "serial", alert->item->serial, "until",
                     time_json(alert->item->until_s * SECOND_MS));
}
