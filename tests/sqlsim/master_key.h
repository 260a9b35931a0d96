/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The database master key (DMK) of one database, as the availability group replicates it
 * (sqlserver-facts 1.9): the passwords that wrap it and the one service master key (SMK) that does.
 * Rights, open sessions and read-only databases are not known here: statements check them first.
 */
#define MASTER_KEY_SMK_MAX 64

struct master_key {
    bool exists;
    bool has_probe_certificate; /* escrowd_probe, its private key under the DMK */
    uint32_t generation;        /* of the key material */
    size_t password_count;
    char **passwords;
    char service_key[MASTER_KEY_SMK_MAX]; /* of the instance whose SMK wraps it; empty: none */
};

void master_key_deinit(struct master_key *key); /* wipes the passwords */

bool master_key_has_password(const struct master_key *key, const char *password);
/* Both return 0 or the error number that SQL Server raises; on_duplicate is that of a repetition.
 */
int32_t master_key_add_password(struct master_key *key, const char *password, int32_t on_duplicate);
int32_t master_key_drop_password(struct master_key *key, const char *password);
void master_key_add_service_key(struct master_key *key, const char *service_key);
bool master_key_wrapped_by(const struct master_key *key, const char *service_key);
