/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/probe.h"

/*
 * What the questions of probe.h have in common: one batch over the instance's connection, made anew
 * where it has broken, and what failed in the words of a DBA. Included by probe.c alone.
 */

#define PROBE_TEXTS_MAX 10

struct probe {
    struct probe_config config; /* its texts are those below */
    char *texts[PROBE_TEXTS_MAX];
    size_t text_count;
    char *state_text, *local_text, *use_text, *master_text;
    struct sql_connection *own;         /* where no other is given */
    struct sql_connection **connection; /* in master between two questions; NULL: to be made */
    struct sql_connection *own_reading; /* the same with read intent */
    struct sql_connection **reading;
};

/* What became of one question. */
struct probe_answer {
    enum probe_outcome outcome;
    int32_t sql_error;
    char diagnosis[PROBE_TEXT_MAX];
};

/*
 * Sends one batch, over a new connection if there is none or the old one has broken. On anything
 * but ESCROW_OK the answer is complete; the errors: sql_connect, sql_batch, and ESCROW_ERR_DENIED
 * while a refused login holds the next one back.
 */
MUST_CHECK enum escrow_err probe_ask(struct probe *probe, const char *text, sql_row_fn on_row,
                                     void *argument, struct probe_answer *ret_answer);
void probe_close(struct probe *probe);

/* States that tell what failed, and nothing else. */
struct probe_state probe_failed(const struct probe_answer *answer);
struct probe_state probe_wrong_form(const struct probe *probe);
struct probe_state probe_no_row(const struct probe *probe);
