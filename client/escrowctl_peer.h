/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "client/escrowctl.h"
#include "client/rpc_act.h"

/* The escrowds of the configuration, one after the other, as whoever the configuration says. */

struct ctl_access {
    struct config *config;
    const struct ctl_config *root;
    EVP_PKEY *authority;
    EVP_PKEY *act_key; /* NULL unless the command signs */
};

/* Reads the configuration and its keys. ESCROW_ERR_CONFIG also without act_key_file if it signs. */
MUST_CHECK enum escrow_err ctl_access_init(struct ctl_access *access, const struct ctl *ctl,
                                           bool signs);
void ctl_access_deinit(struct ctl_access *access);

/*
 * The escrowd of this address or identity, or, for NULL, the only one of the configuration.
 * ESCROW_ERR_USAGE with a log line.
 */
MUST_CHECK enum escrow_err ctl_find_escrowd(const struct ctl_access *access, const char *name,
                                            size_t *ret_index);

/* A connection to one of them. */
struct ctl_peer {
    const struct rpc_server *escrowd;
    struct tls *tls;
    struct roster *roster; /* owned; NULL until ctl_peer_roster */
    struct rpc_session session;
};

/* Connects lazily. access must outlive the peer. */
MUST_CHECK enum escrow_err ctl_peer_init(struct ctl_peer *peer, const struct ctl_access *access,
                                         size_t index);
void ctl_peer_deinit(struct ctl_peer *peer);

/* Fetches its roster, believes it only as worker_roster.h says, and works with it from now on. */
MUST_CHECK enum escrow_err ctl_peer_roster(struct ctl_peer *peer, const struct ctl_access *access);

/* GET of a JSON object, owned by the caller. A failure has a log line. */
MUST_CHECK enum escrow_err ctl_peer_get(struct ctl_peer *peer, const char *path,
                                        json_t **ret_object);

/*
 * Calls one with a peer for every escrowd, or only for the one of this address or identity, and
 * goes on where one fails. ESCROW_OK, or the last failure; ESCROW_ERR_USAGE as ctl_find_escrowd.
 */
typedef enum escrow_err (*ctl_peer_fn)(struct ctl_peer *peer, void *argument);
MUST_CHECK enum escrow_err ctl_each_peer(const struct ctl_access *access, const char *only,
                                         ctl_peer_fn one, void *argument);

/*
 * A command without arguments that shows rows of every escrowd: one appends to the array that it is
 * given. A table, or none, which is a line for a person, or with CTL_OUTPUT_JSON an object with the
 * array as this member.
 */
struct ctl_rows {
    const char *member;
    const char *none;
    const struct ctl_column *columns;
    size_t column_count;
};
MUST_CHECK enum escrow_err ctl_show_rows(struct ctl *ctl, ctl_peer_fn one,
                                         const struct ctl_rows *shown);

/* A log line about the last call, with escrowd's reason; returns err. */
enum escrow_err ctl_peer_fail(const struct ctl_peer *peer, enum escrow_err err);
