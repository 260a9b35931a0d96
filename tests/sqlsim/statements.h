/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/lexer.h"
#include "tests/sqlsim/session.h"

/*
 * The T-SQL that the model understands: one row per statement in statements.c, in the order of
 * libescrow/tsql.h. A batch is one statement.
 */
typedef void (*statement_fn)(struct session *session, const struct lexer_parameters *parameters,
                             struct reply *reply);

/* Runs a batch. false: unknown, and the reply holds 102. */
bool statements_run(struct session *session, const char *text, struct reply *reply);

/* statements_catalog.c: what an instance says of itself; false: unknown, nothing is replied. */
bool statements_run_catalog(struct session *session, const char *text, struct reply *reply);

/* 2.2: whether a login may read a dynamic management view; else the reply has 300 and 297. */
bool statement_check_server_state(const struct session *session, struct reply *reply);

/* statements_hadr.c: views of the group and of sessions */
void statement_state(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply);
void statement_local(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply);
void statement_quorum(struct session *session, const struct lexer_parameters *parameters,
                      struct reply *reply);
void statement_find_session(struct session *session, const struct lexer_parameters *parameters,
                            struct reply *reply);
void statement_identity(struct session *session, const struct lexer_parameters *parameters,
                        struct reply *reply);

/* statements_key.c: the master key and what lies under it */
void statement_opens(struct session *session, const struct lexer_parameters *parameters,
                     struct reply *reply);
void statement_probe_certificate(struct session *session, const struct lexer_parameters *parameters,
                                 struct reply *reply);
void statement_open_master_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
void statement_close_master_key(struct session *session, const struct lexer_parameters *parameters,
                                struct reply *reply);
void statement_add_service_key(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
void statement_add_password(struct session *session, const struct lexer_parameters *parameters,
                            struct reply *reply);
void statement_drop_password(struct session *session, const struct lexer_parameters *parameters,
                             struct reply *reply);
void statement_catalog_startup(struct session *session, const struct lexer_parameters *parameters,
                               struct reply *reply);
