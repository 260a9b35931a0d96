/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/credential.h"
#include "tests/sqlsim/key_object.h"

/*
 * The database master key (DMK) of one database, as the availability group replicates it
 * (sqlserver-facts 1.9): the passwords that wrap it and the one service master key (SMK) that does.
 * Rights, open sessions and read-only databases are not known here: statements check them first.
 */
#define MASTER_KEY_SMK_MAX 64
#define MASTER_KEY_PROBE "escrowd_probe" /* the certificate that a database has from the start */

struct master_key {
    bool exists;
    uint32_t generation; /* of the key material */
    size_t password_count;
    char **passwords;
    char service_key[MASTER_KEY_SMK_MAX]; /* of the instance whose SMK wraps it; empty: none */
    struct key_objects objects;           /* what it encrypts */
};

void master_key_deinit(struct master_key *key); /* wipes the passwords */
void master_key_copy(const struct master_key *from, struct master_key *ret_key);

/* CREATE: a key of this generation under one password and no SMK. What else the database holds
 * stays. */
void master_key_create(struct master_key *key, uint32_t generation, const char *password);
/* DROP: 0, or 15580 while a certificate lies under it. */
int32_t master_key_drop(struct master_key *key);
/*
 * New key material under this one password; the row of the SMK is the caller's (REGENERATE keeps
 * it, RESTORE does not). opens: the old key is known, so what it encrypts moves to the new one;
 * else it is lost (FORCE).
 */
void master_key_replace(struct master_key *key, uint32_t generation, const char *password,
                        bool opens);

bool master_key_has_password(const struct master_key *key, const char *password);
/* Both return 0 or the error number that SQL Server raises; on_duplicate is that of a repetition.
 */
int32_t master_key_add_password(struct master_key *key, const char *password, int32_t on_duplicate);
int32_t master_key_drop_password(struct master_key *key, const char *password);
void master_key_add_service_key(struct master_key *key, const char *service_key);
bool master_key_wrapped_by(const struct master_key *key, const char *service_key);
void master_key_drop_service_key(struct master_key *key);
/* Whether a stored password of this family opens it. */
bool master_key_credential_opens(const struct master_key *key,
                                 const struct credentials *credentials, uint32_t family);

/* Makes or removes the certificate escrowd_probe. */
void master_key_set_probe(struct master_key *key, bool has_probe);
/* The certificate by name if its private key is there and not under a password of its own. */
bool master_key_has_certificate(const struct master_key *key, const char *name);
