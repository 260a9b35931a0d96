/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "libescrow/sql.h"
#include "libescrow/tsql.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What escrowd's probers and the agent ask one SQL Server instance: a fixed list of questions,
 * never text from a peer. A connection is kept, and made anew when it breaks. Every call blocks
 * for at most the deadline of its instance plus what a hung driver takes, so it runs in a process
 * of its own that may be killed.
 */

#define PROBE_NAME_MAX 256 /* bytes with NUL, of server names */
#define PROBE_TEXT_MAX 512 /* bytes with NUL, of a diagnosis */

enum probe_outcome {
    PROBE_ANSWERED = 1,
    PROBE_REFUSED,       /* the address refuses connections: nothing listens there (dead) */
    PROBE_UNREACHABLE,   /* no answer within the deadline, no route */
    PROBE_TLS_FAILED,    /* not the server it should be, or no TLS: see diagnosis */
    PROBE_LOGIN_REFUSED, /* 18456 and its family, or a login that cannot be used; also while the
                            last one of these holds back the next (probe_hold.h) */
    PROBE_SQL_ERROR,     /* an error number: see sql_error */
    PROBE_NO_ROW,        /* no such availability group or database here, or no right to see it */
};

/* SQL Server's numbers: role in sys.dm_hadr_availability_replica_states. */
enum probe_role {
    PROBE_ROLE_RESOLVING = 0,
    PROBE_ROLE_PRIMARY = 1,
    PROBE_ROLE_SECONDARY = 2,
};

/* cluster_type in sys.availability_groups. */
enum probe_cluster {
    PROBE_CLUSTER_WSFC = 0,
    PROBE_CLUSTER_EXTERNAL = 1,
    PROBE_CLUSTER_NONE = 2,
};

/* state in sys.databases. */
#define PROBE_DATABASE_ONLINE 0

/* Everything of one replica that a decision rests on; fields beyond outcome count only if ANSWERED.
 */
struct probe_state {
    enum probe_outcome outcome;
    int32_t sql_error;                /* SQL Server's number, 0 if none */
    char diagnosis[PROBE_TEXT_MAX];   /* one line for a DBA; empty if ANSWERED */
    char server_name[PROBE_NAME_MAX]; /* replica_server_name of the local row */
    int32_t cluster_type;             /* enum probe_cluster */
    int32_t role;                     /* enum probe_role */
    int32_t operational_state;        /* -1 for NULL, here and below */
    int32_t recovery_health;
    int32_t synchronization_health;
    int32_t synchronization_state;
    int32_t database_state;
    bool is_read_write;
    bool is_forwarder;   /* in a distributed group and not its writable side */
    bool has_quorum_row; /* sys.dm_hadr_cluster has a row */
    int32_t quorum_state;
    char primary_replica[PROBE_NAME_MAX]; /* empty for NULL */
    bool has_sequence_number;
    int64_t sequence_number;
    char recovery_lsn[48]; /* decimal text, empty for NULL */
};

struct probe_hold;

struct probe_config {
    struct sql_instance instance; /* where and how to connect: sql.h */
    const char *availability_group;
    const char *database;
    struct probe_hold *hold; /* of all probes of the instance; NULL: every login is tried */
    /* The same; NULL there: to be made. Whoever has it closes it. NULL: a connection of its own. */
    struct sql_connection **connection;
    struct sql_connection **reading; /* the same, of the sessions with read intent */
};

struct probe;

/*
 * A probe of one instance; connects lazily, after sql_environment_new. config is copied, its
 * hold and connections borrowed. Owned by the caller. ESCROW_ERR_NO_MEMORY, also for a name that no
 * T-SQL literal can hold.
 */
MUST_CHECK enum escrow_err probe_new(const struct probe_config *config, struct probe **ret_probe);
void probe_free(struct probe *probe);
CLEANUP_FUNCTION(probe_free_p, struct probe, probe_free)

/* Fills *ret_state whatever happens; what failed is in outcome, sql_error and diagnosis. */
void probe_ask_state(struct probe *probe, struct probe_state *ret_state);

/* More than most instances have; an answer about as many fits in a message (ipc_probe.h). */
#define PROBE_STATES_MAX 128

/*
 * The same of so many probes at once, in one statement: all of one instance with one connection
 * (probe_config). One state for each, as probe_ask_state would fill it; what fails for the
 * instance is in all of them.
 */
void probe_ask_states(struct probe *const *probes, size_t count, struct probe_state *ret_states);

/* Only role, is_read_write and what failed: the agent's cheap poll. The rest is as unknown. */
void probe_ask_local(struct probe *probe, struct probe_state *ret_state);

/* *ret_found: a session with this nonce under this login is on the instance (escrow-policy(5), rule
 * 2). */
enum probe_outcome probe_ask_session(struct probe *probe,
                                     const uint8_t nonce[static TSQL_NONCE_BYTES],
                                     const char *login, bool *ret_found);

struct probe_echo {
    enum probe_outcome outcome;
    bool is_found;     /* the database here has the nonce as what was committed last */
    bool is_late;      /* UNREACHABLE: the question, or the login for it, has hung */
    int32_t sql_error; /* 976 and its kind where it cannot be read, else 0 */
    bool is_closed;    /* 976, and the replica is set up to be read by nobody */
};

/*
 * Fills *ret_echo whatever happens (escrow-policy(5), rule 7). Asked with read intent, over a
 * connection of its own: a secondary may admit readers only, and a primary may refuse them.
 */
void probe_ask_echo(struct probe *probe, const uint8_t nonce[static TSQL_NONCE_BYTES],
                    struct probe_echo *ret_echo);

enum probe_opens {
    PROBE_OPENS_UNKNOWN,        /* could not be asked: outcome of the connection says why */
    PROBE_OPENS_YES,            /* a signature came back */
    PROBE_OPENS_NO,             /* anything else: the master key does not open by itself */
    PROBE_OPENS_NO_CERTIFICATE, /* there is no certificate escrowd_probe, or no right to sign with
                                   it: run sql-grants */
};
/*
 * Whether the database's master key opens by itself, by a signature with the probe certificate.
 * *ret_sql_error: the error number of SQL Server that decided (976, 15581, ...), or 0.
 */
enum probe_opens probe_ask_opens(struct probe *probe, int32_t *ret_sql_error);
/*
 * The same over a connection of the caller's, which is in the database and in whose session no
 * master key was ever opened.
 */
enum probe_opens probe_opens_over(struct sql_connection *connection, int32_t *ret_sql_error);

/* More than an availability group may have. */
#define PROBE_MEMBERS_MAX 16

/* The replicas of the availability group, as this instance lists them. */
struct probe_members {
    enum probe_outcome outcome; /* the rest counts only if ANSWERED */
    size_t count;
    char names[PROBE_MEMBERS_MAX][PROBE_NAME_MAX]; /* replica_server_name */
};

/* Fills *ret_members whatever happens. */
void probe_ask_members(struct probe *probe, struct probe_members *ret_members);
