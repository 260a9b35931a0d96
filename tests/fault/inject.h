/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Failures on order. The calls named in inject_calls.def are wrapped by the linker: each asks here
 * whether it is to fail this time. What is to fail stands in memory that a test shares with the
 * processes it forks, so that a test arms and disarms a role while it runs; only a process that
 * said inject_here() ever fails. Nothing here allocates, and nothing is random but by the seed.
 */

enum inject_class {
    INJECT_MEMORY = 0, /* malloc and its kin, in our code and in jansson, libevent and SQLite */
    INJECT_CRYPTO,     /* OpenSSL */
    INJECT_OPENSSL,    /* the memory that OpenSSL asks for */
    INJECT_TPM,        /* Tss2_Sys_* and the transport below it */
    INJECT_STORE,      /* sqlite3_* */
    INJECT_FILE,       /* open, read, write, sync, cut, rename */
    INJECT_SOCKET,     /* send, receive, connect, accept */
    INJECT_SQL,        /* ODBC: inject_client.def */
    INJECT_HTTP,       /* libcurl: the same */
    INJECT_CLASSES,
};

/* What is to happen. */
struct inject_order {
    enum inject_class class;
    const char *call; /* the only call that fails and is counted by at; NULL: all of the class */
    uint64_t at;      /* the call of this class that fails first, from 1; 0: by chance */
    uint64_t span;    /* how many calls fail from there on */
    unsigned variant; /* which of its failures a call shows, where it has several */
    unsigned one_in;  /* by chance: one call of every class in so many fails */
    uint64_t seed;
};

/* What happened since the order was given. */
struct inject_report {
    uint64_t calls[INJECT_CLASSES];
    uint64_t named; /* calls of the order's name */
    uint64_t failed;
    char last[48]; /* the call that failed last */
};

/* Makes the shared memory and hands the libraries their allocators; before anything else. */
void inject_init(void);
/* From now on calls of this process may fail. */
void inject_here(void);
/* Counts from zero and fails as ordered; NULL: counts only. */
void inject_arm(const struct inject_order *order);
/* Nothing fails any more. */
void inject_disarm(struct inject_report *ret_report);

/*
 * The numbers, from 1, of those calls of the class since the order was given that came from a place
 * (a stack of 16 functions) that no call before came from, under this order or an earlier one; for
 * an order that lets nothing fail. Owned by the caller; NULL if there are none.
 */
uint32_t *inject_firsts(enum inject_class class, size_t *ret_count);

const char *inject_class_name(enum inject_class class);
/* As of draw.h. */
uint64_t inject_draw(uint64_t *seed);

/*
 * How far the file that was written last by pwrite is on disk: the end of what fdatasync or fsync
 * confirmed since it was forgotten.
 */
int64_t inject_synced(void);
void inject_forget_synced(void);

/* For the wrapped calls: 0, or 1 + the variant of the failure that is due. */
unsigned inject_due(enum inject_class class, const char *call);
/* Between hold and its end nothing is counted; a library's call was counted as its own. */
void inject_hold(bool hold);
void inject_wrote(int fd, int64_t end);
void inject_synced_file(int fd);
