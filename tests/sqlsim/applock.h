/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The application locks of one instance: sp_getapplock and sp_releaseapplock (sql-docs, pages of
 * the two procedures). A resource belongs to a database and is compared byte by byte; an owner is a
 * session, for its own length or for that of its transaction. Nobody waits here: a request that is
 * in the way of another session's lock times out at once, whatever time-out it names.
 */
enum applock_mode {
    APPLOCK_INTENT_SHARED,
    APPLOCK_SHARED,
    APPLOCK_UPDATE,
    APPLOCK_INTENT_EXCLUSIVE,
    APPLOCK_EXCLUSIVE,
};

enum { APPLOCK_GRANTED = 0, APPLOCK_TIMEOUT = -1, APPLOCK_INVALID = -999 }; /* return codes */

struct applock_request {
    int32_t session;
    size_t database; /* any number that tells databases apart */
    const char *resource;
    bool is_of_transaction; /* else of the session */
};

struct applocks {
    size_t count;
    struct applock *locks;
};

void applocks_deinit(struct applocks *locks); /* a zeroed one is valid */

/* "Exclusive" and so on, whatever its case; false: no such mode. */
bool applock_mode_parse(const char *text, enum applock_mode *ret_mode);

/* APPLOCK_GRANTED or APPLOCK_TIMEOUT. A second request of the owner makes the mode the stronger. */
int applocks_get(struct applocks *locks, const struct applock_request *request,
                 enum applock_mode mode);
/* APPLOCK_GRANTED, or APPLOCK_INVALID if the owner does not hold it. */
int applocks_release(struct applocks *locks, const struct applock_request *request);

/* The end of the session's transaction; the end of the session. */
void applocks_end_transaction(struct applocks *locks, int32_t session);
void applocks_end_session(struct applocks *locks, int32_t session);
