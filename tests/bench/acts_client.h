/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/rpc_act.h"
#include "libescrow/sql.h"

/*
 * One client of escrowd as benches need it: its keys and certificates in a chain of
 * tests/integration/lib/chain.bash, which is the current folder, one connection to escrowd and, for
 * an agent, one to its SQL Server. Every act is made, signed and checked as the agent does it.
 */

#define ACTS_GROUP "ssis"
#define ACTS_DATABASE "SSISDB"

struct acts_client {
    const char *name; /* of its files: "admin", or a replica's */
    bool is_agent;
    uint16_t port;
    struct sql_instance instance; /* with is_agent */
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
 * Reads the files, connects and fetches the roster; with sql_port not 0 it is an agent, and enters
 * its database too. Errors have been logged. Deinit also after a failure.
 */
MUST_CHECK enum escrow_err acts_client_init(struct acts_client *client, const char *name,
                                            uint16_t port, uint16_t sql_port);
void acts_client_deinit(struct acts_client *client);

/* The next request makes a new connection, with a full handshake. */
MUST_CHECK enum escrow_err acts_client_reconnect(struct acts_client *client);

/* What an agent does between detection and OPEN MASTER KEY: challenge, session, release. */
MUST_CHECK enum escrow_err acts_client_release(struct acts_client *client);

/* As an admin: orders a drill, so that agents may ask again and again. */
MUST_CHECK enum escrow_err acts_client_order(struct acts_client *client);
/* As an admin: deposits one more version with a password of no meaning. */
MUST_CHECK enum escrow_err acts_client_deposit(struct acts_client *client);

/* Only the SQL of a promotion: login, and the batches up to ALTER MASTER KEY. */
MUST_CHECK enum escrow_err acts_client_bare_sql(struct acts_client *client,
                                                const struct secret *password);
