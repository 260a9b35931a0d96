/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Trouble on command: the rules of one instance by which it misbehaves towards a client at a stage
 * of its connection. Pure: it says what is to happen and counts, connection.c and its parts do it.
 */
#define TROUBLES_MAX 16 /* rules of one instance */
#define TROUBLE_ARGUMENTS_MAX 3

enum trouble_stage {
    TROUBLE_ACCEPT,    /* the TCP connection stands */
    TROUBLE_PRELOGIN,  /* PRELOGIN came */
    TROUBLE_TLS,       /* a part of the TLS handshake came */
    TROUBLE_LOGIN,     /* LOGIN7 came */
    TROUBLE_QUERY,     /* a batch came and is not executed */
    TROUBLE_ANSWER,    /* a batch was executed and is answered */
    TROUBLE_ATTENTION, /* an attention came */
    TROUBLE_ANY,       /* whichever is next: as if the line were cut */
};

enum trouble_kind {
    TROUBLE_NONE,
    TROUBLE_HANG,    /* [BYTES of the answer, then] silence for the rest of the connection */
    TROUBLE_CLOSE,   /* [BYTES of the answer, then] the end of the connection */
    TROUBLE_RESET,   /* the same by a TCP reset */
    TROUBLE_BLOCK,   /* the batch waits for ever, as behind a lock; an attention ends it */
    TROUBLE_SLOW,    /* the answer MS milliseconds late */
    TROUBLE_DRIP,    /* the answer BYTES at a time, MS milliseconds before each */
    TROUBLE_GARBAGE, /* random bytes from SEED, as many as the answer has */
    TROUBLE_EXTRA,   /* an INFO and a result set of ROWS long rows in front of the answer */
    TROUBLE_ERROR,   /* NUMBER [CLASS [STATE]] in place of the answer; class 20 and above closes */
};

struct trouble {
    enum trouble_kind kind;
    enum trouble_stage stage;
    size_t argument_count;
    int64_t arguments[TROUBLE_ARGUMENTS_MAX];
    /* whom it strikes; NULL and 0: all */
    char *login;
    char *statement; /* a part of the batch's text */
    uint32_t from;   /* IPv4 source address, network order */
    /* when */
    uint64_t after; /* this many occasions pass first */
    uint64_t count; /* then it strikes so often, 0: always */
    /* run time */
    uint64_t occasions, hits;
};

struct troubles {
    size_t count;
    struct trouble rules[TROUBLES_MAX];
    uint64_t hits; /* of all rules since the start, removed ones included */
};

/* What is about to happen on a connection; login and statement are NULL before they are known. */
struct trouble_occasion {
    enum trouble_stage stage;
    const char *login;
    const char *statement;
    uint32_t from;
};

void troubles_deinit(struct troubles *troubles); /* a zeroed one is valid */
/* Removes every rule. */
void troubles_clear(struct troubles *troubles);

/*
 * Adds a rule from words: KIND [ARGUMENT...] [--at STAGE] [--login NAME] [--statement TEXT]
 * [--from ADDRESS] [--after N] [--count K]. ESCROW_ERR_USAGE and, in *ret_problem, a static text
 * that says what is wrong with it.
 */
MUST_CHECK enum escrow_err troubles_add(struct troubles *troubles, const char *const *words,
                                        size_t count, const char **ret_problem);

/* The first rule that strikes now, or NULL. Counts the occasion for every rule that it fits. */
const struct trouble *troubles_meet(struct troubles *troubles,
                                    const struct trouble_occasion *occasion);

const char *trouble_kind_name(enum trouble_kind kind);
const char *trouble_stage_name(enum trouble_stage stage);
