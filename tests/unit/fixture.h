/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/roster.h"

#include <jansson.h>

/*
 * An escrow of two members, an agent, an admin and an auditor, all with software keys: the storage
 * keys claim to be a TPM's, and their private halves are here, so that a test can open what was
 * wrapped to them.
 */

#define FIXTURE_MEMBERS 2
#define FIXTURE_GROUP "AG1"
#define FIXTURE_INSTANCE "sql1"
#define FIXTURE_AGENT "spiffe://corp.example/sql1/agent"
#define FIXTURE_ADMIN "spiffe://corp.example/alice"
#define FIXTURE_AUDITOR "spiffe://corp.example/audra"

struct fixture {
    EVP_PKEY *authority, *recovery;
    EVP_PKEY *storage[FIXTURE_MEMBERS], *answer[FIXTURE_MEMBERS], *audit[FIXTURE_MEMBERS];
    EVP_PKEY *agent, *admin, *auditor;
    struct roster *roster;
};

/* A cmocka group setup and teardown: *state is the struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* The signer Name of a key. */
struct tpm_name fixture_name(EVP_PKEY *key);
struct ec_point fixture_point(EVP_PKEY *key);

/*
 * The form of a document, owned by the caller: its compact text with sorted members and ' in place
 * of ", in which a text of more than 24 bytes stands as its first four and its length (AQEB<86>).
 */
char *fixture_form(const json_t *document);

/* The payload of the fixture's roster, owned by the caller, to be bent by a test. */
json_t *fixture_roster_payload(const struct fixture *fixture);
