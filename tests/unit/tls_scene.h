/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/tls.h"
#include "tests/unit/certificates.h"

/*
 * For tests of TLS: an authority, a server and an agent, in files of a folder of their own, which
 * is the current one; and connections between two ends in this process. Failures are cmocka's.
 */

#define SERVER "spiffe://corp.example/escrowd/e1"
#define AGENT "spiffe://corp.example/sql1/agent"
#define DAY_S (24L * 3600)

extern const struct leaf server_leaf, agent_leaf;

/*
 * The files: "ca", "both" (with the other authority), "crl" (of the authority, empty), "server",
 * "agent", and "key", which is that of every leaf. A test may replace them and make others.
 */
struct tls_scene {
    char *folder;
    struct authority authority, other;
    EVP_PKEY *key;
    X509 *agent;
};

/* Set-up and teardown of a test, whose state is the scene. */
int tls_scene_setup(void **state);
int tls_scene_teardown(void **state);

void write_leaf(const char *path, const struct authority *authority, EVP_PKEY *key,
                const struct leaf *leaf);
/* In a new file "crl" each time, as escrow-certs and others replace it. */
void put_list(const struct authority *authority, const struct revocation *revocation);

/* The files of the scene, without revocation lists. */
struct tls_config server_config(void);
struct tls_config agent_config(void);

/* Two ends in this process, talking through memory. The pair owns everything in it. */
struct tls_pair {
    struct tls *server_tls, *client_tls;
    SSL *server, *client;
    struct tls_verified verified; /* by the server */
};

void pair_init(struct tls_pair *pair, const struct tls_config *server,
               const struct tls_config *client);
/* The same with contexts that the pair has got already. */
void pair_join(struct tls_pair *pair);
void pair_deinit(struct tls_pair *pair);
/* Whether both ends say that the handshake is done, and the client can read what is sent to it. */
bool shake_hands(struct tls_pair *pair);
