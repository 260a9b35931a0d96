/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <jansson.h>

#include <stddef.h>
#include <stdint.h>

/*
 * What sqlserver-facts section 10 does not confirm, and the durations of role changes. Each is set
 * by name in the configuration ("switches") or with `sqlsim ctl SOCKET set NAME VALUE`. The table
 * in switches.c is the only list of them: suites run with every value that `sqlsim switches` names.
 */
enum { SWITCH_LSN_VALUE, SWITCH_LSN_MAX, SWITCH_LSN_THEN_MAX }; /* recovery_lsn */
enum { SWITCH_SIGN_NULL, SWITCH_SIGN_15581 };                   /* signbycert_failure */
enum { SWITCH_KILL_CLOSE, SWITCH_KILL_596 };                    /* session_kill */
enum { SWITCH_ORPHAN_SECONDARY, SWITCH_ORPHAN_RESOLVING };      /* orphan_role */
enum { SWITCH_DEAD_PRIMARY_NULL, SWITCH_DEAD_PRIMARY_STALE };   /* dead_primary_name */
enum { SWITCH_NO, SWITCH_YES };                                 /* master_copy_opens */
enum { SWITCH_SEQUENCE_ZERO, SWITCH_SEQUENCE_COUNTS };          /* wsfc_sequence_number */
enum { SWITCH_DUPLICATE_OK, SWITCH_DUPLICATE_15557, SWITCH_DUPLICATE_15579 };
enum { SWITCH_CLOSE_15315, SWITCH_CLOSE_OK };                   /* close_unopened */
enum { SWITCH_READONLY_OPEN_OK, SWITCH_READONLY_OPEN_3906 };    /* readonly_open */
enum { SWITCH_READONLY_ADD_15581, SWITCH_READONLY_ADD_3906 };   /* readonly_add */
enum { SWITCH_LOGIN_ERRORS_ALL, SWITCH_LOGIN_ERRORS_4060 };     /* login_database_errors */
enum { SWITCH_LOG_REDACTED, SWITCH_LOG_VERBATIM };              /* log_statements */
enum { SWITCH_LOCKED_18486, SWITCH_LOCKED_18456 };              /* locked_wrong_password */
enum { SWITCH_CREDENTIAL_OPENS, SWITCH_CREDENTIAL_15581 };      /* readonly_credential */
enum { SWITCH_CREDENTIAL_CONTROL, SWITCH_CREDENTIAL_SYSADMIN }; /* credential_right */
enum { SWITCH_SERVICE_KEY_15466, SWITCH_SERVICE_KEY_15581 };    /* lost_service_key */
enum { SWITCH_LANGUAGE_ENGLISH, SWITCH_LANGUAGE_OTHER };        /* language */
enum { SWITCH_COLUMNS_ABSENT, SWITCH_COLUMNS_PRESENT };         /* columns_2016 */
enum { SWITCH_CONTAINED_USE_USER, SWITCH_CONTAINED_USE_916 };   /* contained_use */
enum { SWITCH_CONTAINED_LOGIN_INSTANCE, SWITCH_CONTAINED_LOGIN_18456 };
enum { SWITCH_DISTRIBUTED_PRIMARY, SWITCH_DISTRIBUTED_ALL };  /* distributed_rows */
enum { SWITCH_DISTRIBUTED_NONE, SWITCH_DISTRIBUTED_WSFC };    /* distributed_cluster_type */
enum { SWITCH_PROPERTY_DEFINITION, SWITCH_PROPERTY_CONNECT }; /* property_visibility */
enum { SWITCH_PROPERTY_15247, SWITCH_PROPERTY_1088 };         /* property_refusal */

struct switches {
    int64_t recovery_lsn;
    int64_t signbycert_failure;
    int64_t session_kill;
    int64_t orphan_role;
    int64_t dead_primary_name;
    int64_t master_copy_opens;
    int64_t wsfc_sequence_number;
    int64_t duplicate_password;
    int64_t close_unopened;
    int64_t readonly_open;
    int64_t readonly_add;
    int64_t login_database_errors;
    int64_t log_statements;
    int64_t garble; /* seed: answers to logins and statements are altered; 0: they are not */
    int64_t locked_wrong_password;
    int64_t readonly_credential;
    int64_t credential_right;
    int64_t lost_service_key;
    int64_t restore_keeps_service_key; /* SWITCH_NO, SWITCH_YES */
    int64_t password_policy;           /* SWITCH_NO, SWITCH_YES */
    int64_t language; /* of all messages: another has numbers and classes, no known text */
    int64_t columns_2016;
    int64_t contained_use;
    int64_t contained_closed_login;
    int64_t distributed_rows;
    int64_t distributed_cluster_type;
    int64_t property_visibility;
    int64_t property_refusal;
    int64_t lockout_threshold; /* bad passwords that lock a login; 0: none */
    int64_t password_max;      /* characters of a password of a master key */
    int64_t state_15313;
    int64_t state_15581; /* the state number of 15581 from ALTER MASTER KEY and SIGNBYCERT */
    int64_t resolving_ms;
    int64_t pending_ms;
    int64_t recovering_ms;
    int64_t demote_ms;
    int64_t startup_ms;
    int64_t auto_failover_ms;
    int64_t lsn_settle_ms;
    int64_t stale_primary_ms;
    int64_t lease_ms; /* of a primary that does not reach the cluster */
};

void switches_init(struct switches *switches); /* the defaults */

/* value: one of the switch's words, or a decimal number. ESCROW_ERR_NOT_FOUND: no such switch;
 * ESCROW_ERR_MALFORMED: no such value. */
MUST_CHECK enum escrow_err switches_set(struct switches *switches, const char *name,
                                        const char *value);

/* The name of switch number index, or NULL beyond the last. */
const char *switches_name(size_t index);
/* Its value now, as switches_set takes it. Owned by the caller. */
char *switches_value(const struct switches *switches, size_t index);

/*
 * All switches, an array of {"name", "values": [...], "number", "source"}: the values that a suite
 * is to try, the default first; number: others are possible too. source is null where the switch is
 * the simulator's own, not a behaviour of SQL Server, and has one way that matters. Owned by the
 * caller.
 */
json_t *switches_list(void);
