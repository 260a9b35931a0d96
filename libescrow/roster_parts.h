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
    struct roster_key keys[ROSTER_KEYS_MAX];
    EVP_PKEY *act_keys[ROSTER_KEYS_MAX];
    const char **names[ROSTER_KEYS_MAX]; /* groups, then instances */
};

/* Fills a zeroed roster from its payload, which stays the roster's. */
MUST_CHECK enum escrow_err roster_fill(struct roster *roster, EVP_PKEY *authority);
