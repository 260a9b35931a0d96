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
    size_t instance;
    char *login_name;
    struct sid login_sid;
    const struct model_group *contained; /* CAG: the contained group that it entered by, or NULL */
    int32_t id;
    struct model_database *database; /* NULL: master */
    bool has_read_intent;
    bool is_encrypted;                   /* TLS covers more than the login */
    bool is_killed;                      /* by a role change: the next reply ends it */
    int64_t lock_timeout_ms;             /* SET LOCK_TIMEOUT; -1: it waits for ever */
    bool open_keys[MODEL_DATABASES_MAX]; /* the DMK of database n (1.3) */
    struct transaction *transaction;     /* NULL: none is open */
    struct key_objects open_objects;     /* the symmetric keys that it opened, by name */
    size_t context_len;
    uint8_t context[SESSION_CONTEXT_MAX];
    void (*on_kill)(struct session *session, void *argument); /* may be NULL */
    void *argument;
};

struct session_login {
    const char *name;
    const char *password; /* NULL: a ticket has proved the name */
    const char *database; /* empty: master */
    bool has_read_intent;
    const struct model_group *listener; /* of the group whose listener it came by, or NULL */
};

/*
 * Logs in. NULL with the errors in reply (logins_log_in; 4060 with what it rests on) if
 * refused. The reply of a login that succeeds holds the database change and 5701. Owned by the
 * caller.
 */
struct session *session_new(struct model *model, size_t instance, const struct session_login *login,
                            struct reply *reply);
void session_free(struct session *session);

/* A pooled connection's reset: back to master, no open key (1.3), lock, transaction, CONTEXT_INFO.
 */
void session_reset(struct session *session);

/* Where its login is: the instance's, or those of the contained group. */
struct logins *session_logins(const struct session *session);
/* Server rights, enum principal_right, and those in the database that it is in, or in another; a
 * sysadmin has every right. None if the login is gone. */
unsigned session_rights(const struct session *session);
unsigned session_rights_in(const struct session *session, struct model_database *database);

/* database_id of a database in this session's instance, as DB_ID has it. */
int64_t session_database_id(const struct session *session, const struct model_database *database);
const char *session_database_name(const struct session *session);
/* A database of this session's instance, or NULL. */
struct model_database *session_find_database(const struct session *session, const char *name);
/* The DMK of the database that the session is in, as its instance has it; not in master. */
struct master_key *session_key(const struct session *session);
/* Whether the session has opened it. */
bool session_has_open_key(const struct session *session);
bool session_has_any_open_key(const struct session *session);
void session_set_open_key(struct session *session, bool is_open);

/* 0, or what keeps this session out of the database: 976, ..., 916. Adds it to the reply. NULL
 * (master) is open to all. */
int32_t session_check_database(const struct session *session, struct model_database *database,
                               struct reply *reply);

/* USE: changes the database, or adds the error. */
void session_use(struct session *session, const char *database, struct reply *reply);

/* Ends it by the switch session_kill (2.3); may free it. */
void session_kill(struct session *session);

/* Ends all sessions that are in a database of the group on this instance (2.3), or entered by the
 * contained group. */
void session_kill_all(struct model *model, const struct model_group *group, size_t instance,
                      void *argument);
