/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/rpc_act.h"
#include "libescrow/sql.h"

/*
 * One client of escrowd as benches need it: its keys and certificates in a chain of
 * tests/integration/lib/chain.bash, which is the current folder, one connection to escrowd and, for
 * an agent, one to its SQL Server. Every act is made, signed and checked as the agent does it.
 */

struct acts_config {
    const char *name;   /* of its files: "admin", or a replica's */
    const char *folder; /* of the files; NULL: where chain.bash puts them */
    const char *group, *database;
    const char *replica; /* an agent's; NULL: no agent */
    uint16_t port, sql_port;
};

struct acts_client {
    struct acts_config config;
    struct sql_instance instance; /* an agent's */
    struct sql_connection *sql;
    struct tls *tls;
    EVP_PKEY *authority;
    EVP_PKEY *act_key;
    struct roster *roster;
    struct rpc_session session;
    const char *order; /* releases are for this order; NULL: they are for a promotion */
    char texts[8][64]; /* of instance and files */
};

/*
 * Reads the files, connects and fetches the roster; an agent connects to its instance too. Errors
 * have been logged. Deinit also after a failure.
 */
MUST_CHECK enum escrow_err acts_client_init(struct acts_client *client,
                                            const struct acts_config *config);
/* The session of an agent goes into its database, which must be accessible. */
MUST_CHECK enum escrow_err acts_client_enter(struct acts_client *client);
/*
 * What a process does for the first time costs it several times as much, and here that would be a
 * cost to escrowd's cores. Asks nobody anything.
 */
MUST_CHECK enum escrow_err acts_client_warm(struct acts_client *client);
void acts_client_deinit(struct acts_client *client);

/* The next request makes a new connection, with a full handshake. */
MUST_CHECK enum escrow_err acts_client_reconnect(struct acts_client *client);

/* What an agent does between detection and OPEN MASTER KEY: challenge, echo, session, release. */
MUST_CHECK enum escrow_err acts_client_release(struct acts_client *client);
/*
 * The same, after it has entered its database, and the SQL of a promotion with what came out, until
 * the master key opens by itself. A refusal is not logged: it may be asked again;
 * client->session.problem has it.
 */
MUST_CHECK enum escrow_err acts_client_promotion(struct acts_client *client);

/* As an admin: orders a drill, so that agents may ask again and again. */
MUST_CHECK enum escrow_err acts_client_order(struct acts_client *client);
/* As an admin: deposits one more version with this password. */
MUST_CHECK enum escrow_err acts_client_deposit(struct acts_client *client,
                                               const struct secret *password);

/* Only the SQL of a promotion: login, and the batches up to ALTER MASTER KEY. */
MUST_CHECK enum escrow_err acts_client_bare_sql(struct acts_client *client,
                                                const struct secret *password);
