/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What an instance received after the logins, message by message, so that a test can prove that
 * something was never sent. The oldest entries go when it is full; their number is kept.
 */
#define JOURNAL_ENTRIES_MAX 20000

struct journal_entry {
    int64_t at_ms;
    int32_t session_id;
    bool is_tls;        /* came inside TLS */
    bool is_known;      /* the model understood it */
    const char *packet; /* static */
    size_t bytes;       /* of the message */
    char *login, *database, *statement;
    int32_t error; /* the first error answered, or 0 */
};

struct journal {
    struct journal_entry *entries; /* a ring of JOURNAL_ENTRIES_MAX, made on first use */
    size_t first, count;
    uint64_t dropped, unknown;
};

void journal_deinit(struct journal *journal);
/* Takes the texts of the entry. */
void journal_add(struct journal *journal, const struct journal_entry *entry);
/* How many kept statements contain the text. */
size_t journal_count(const struct journal *journal, const char *text);
/* The entries as JSON, or only those that the model did not understand. */
json_t *journal_json(const struct journal *journal, bool is_unknown_only);
