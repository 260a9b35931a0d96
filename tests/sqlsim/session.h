/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/model.h"
#include "tests/sqlsim/reply.h"

/*
 * One session of one instance, as SQL Server knows it: who, in which database, with which keys
 * open. Knows no network.
 */
#define SESSION_CONTEXT_MAX 128 /* bytes of CONTEXT_INFO */

struct session {
    LIST_ENTRY(session) entry;
    struct model *model;
    size_t replica;
    const struct login *login;
    int32_t id;
    bool is_in_database; /* the group's, else master */
    bool has_read_intent;
    bool is_killed;    /* by a role change: the next reply ends it */
    bool has_open_key; /* the DMK of the group's database */
    size_t context_len;
    uint8_t context[SESSION_CONTEXT_MAX];
    void (*on_kill)(struct session *session, void *argument); /* may be NULL */
    void *argument;
};

struct session_login {
    const char *name;
    const char *password;
    const char *database; /* empty: master */
    bool has_read_intent;
};

/*
 * Logs in. NULL with the errors in reply (18456, 18470; 4060 with what it rests on) if refused.
 * The reply of a login that succeeds holds the database change and 5701. Owned by the caller.
 */
struct session *session_new(struct model *model, size_t replica, const struct session_login *login,
                            struct reply *reply);
void session_free(struct session *session);

/* A pooled connection's reset: back to master, no open key, no CONTEXT_INFO (1.3). */
void session_reset(struct session *session);

/* Server rights and rights in the database, enum principal_right. */
unsigned session_rights(const struct session *session);

/* 0, or what keeps this session out of the group's database: 976, ..., 916. Adds it to the reply.
 */
int32_t session_check_database(const struct session *session, struct reply *reply);

/* USE: changes the database, or adds the error. */
void session_use(struct session *session, const char *database, struct reply *reply);

/* Ends all sessions that are in the database of this replica (2.3). */
void session_kill_all(struct model *model, size_t replica, void *argument);
