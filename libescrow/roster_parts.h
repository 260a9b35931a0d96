/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/roster.h"

#include <jansson.h>

/* The inside of a roster, shared by roster.c and roster_parse.c and by nobody else. */
struct roster {
    char *compact;
    json_t *payload; /* owns every text below */
    uint64_t version;
    struct tpm_name authority;
    struct ec_point recovery;
    struct tpm_name recovery_name;
    size_t member_count;
    struct roster_member members[ROSTER_MEMBERS_MAX];
    EVP_PKEY *answer_keys[ROSTER_MEMBERS_MAX]; /* of the member with the same index */
    size_t key_count;
    struct roster_key *keys;
    struct roster_key_parts *parts;        /* of the key with the same index */
    const struct roster_key **by_name;     /* ascending */
    const struct roster_key **by_identity; /* ascending; of one identity there may be several */
};

struct roster_key_parts {
    EVP_PKEY *key;      /* made when it is first asked for: most are not between two rosters */
    const char **names; /* groups, then instances */
};

/* As qsort and bsearch want them: two elements of by_name, of by_identity. */
int roster_compare_names(const void *one, const void *other);
int roster_compare_identities(const void *one, const void *other);

/* Fills a zeroed roster from its payload, which stays the roster's. */
MUST_CHECK enum escrow_err roster_fill(struct roster *roster, EVP_PKEY *authority);
