/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/journal.h"

#include "tests/sqlsim/memory.h"

#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>

static void entry_deinit(struct journal_entry *entry)
{
    OPENSSL_cleanse(entry->statement, strlen(entry->statement));
    free(entry->statement);
    free(entry->login);
    free(entry->database);
}

static struct journal_entry *entry_at(const struct journal *journal, size_t index)
{
    return &journal->entries[(journal->first + index) % JOURNAL_ENTRIES_MAX];
}

void journal_deinit(struct journal *journal)
{
    for (size_t i = 0; i < journal->count; i++)
        entry_deinit(entry_at(journal, i));
    free(journal->entries);
    memset(journal, 0, sizeof(*journal));
}

void journal_add(struct journal *journal, const struct journal_entry *entry)
{
    if (!journal->entries)
        journal->entries = memory_new(JOURNAL_ENTRIES_MAX * sizeof(*journal->entries));
    if (journal->count == JOURNAL_ENTRIES_MAX) {
        entry_deinit(entry_at(journal, 0));
        journal->first = (journal->first + 1) % JOURNAL_ENTRIES_MAX;
        journal->count--;
        journal->dropped++;
    }
    if (!entry->is_known)
        journal->unknown++;
    *entry_at(journal, journal->count++) = *entry;
}

size_t journal_count(const struct journal *journal, const char *text)
{
    size_t count = 0;

    for (size_t i = 0; i < journal->count; i++)
        count += strstr(entry_at(journal, i)->statement, text) != NULL;
    return count;
}

json_t *journal_json(const struct journal *journal, bool is_unknown_only)
{
    json_t *list = json_array();

    for (size_t i = 0; i < journal->count; i++) {
        const struct journal_entry *entry = entry_at(journal, i);

        if (is_unknown_only && entry->is_known)
            continue;
        json_array_append_new(
            list, json_pack("{s:I, s:i, s:s, s:s, s:s, s:b, s:I, s:s, s:i, s:b}", "at_ms",
                            (json_int_t)entry->at_ms, "session", entry->session_id, "login",
                            entry->login, "database", entry->database, "packet", entry->packet,
                            "tls", entry->is_tls, "bytes", (json_int_t)entry->bytes, "statement",
                            entry->statement, "error", entry->error, "known", entry->is_known));
    }
    return list;
}
