/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/applock.h"

#include "libescrow/cleanup.h"
#include "tests/sqlsim/memory.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct applock {
    int32_t session;
    bool is_of_transaction;
    size_t database;
    char *resource;
    enum applock_mode mode;
    size_t held; /* as often it must be released */
};

static const char *const modes[] = {
    [APPLOCK_INTENT_SHARED] = "IntentShared",
    [APPLOCK_SHARED] = "Shared",
    [APPLOCK_UPDATE] = "Update",
    [APPLOCK_INTENT_EXCLUSIVE] = "IntentExclusive",
    [APPLOCK_EXCLUSIVE] = "Exclusive",
};

/* The lock manager's compatibility of modes, in the order of enum applock_mode. */
static const bool compatible[][ARRAY_LEN(modes)] = {
    [APPLOCK_INTENT_SHARED] = {true, true, true, true, false},
    [APPLOCK_SHARED] = {true, true, true, false, false},
    [APPLOCK_UPDATE] = {true, true, false, false, false},
    [APPLOCK_INTENT_EXCLUSIVE] = {true, false, false, true, false},
    [APPLOCK_EXCLUSIVE] = {false, false, false, false, false},
};

bool applock_mode_parse(const char *text, enum applock_mode *ret_mode)
{
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (strcasecmp(modes[i], text) == 0) {
            *ret_mode = (enum applock_mode)i;
            return true;
        }
    }
    return false;
}

static void remove_lock(struct applocks *locks, size_t index)
{
    free(locks->locks[index].resource);
    locks->locks[index] = locks->locks[--locks->count];
}

void applocks_deinit(struct applocks *locks)
{
    while (locks->count)
        remove_lock(locks, locks->count - 1);
    free(locks->locks);
    locks->locks = NULL;
}

static bool is_resource(const struct applock *lock, const struct applock_request *request)
{
    return lock->database == request->database && strcmp(lock->resource, request->resource) == 0;
}

static bool is_owner(const struct applock *lock, const struct applock_request *request)
{
    return is_resource(lock, request) && lock->session == request->session &&
           lock->is_of_transaction == request->is_of_transaction;
}

/* The index of the owner's lock, or the count. */
static size_t find(const struct applocks *locks, const struct applock_request *request)
{
    size_t i = 0;

    while (i < locks->count && !is_owner(&locks->locks[i], request))
        i++;
    return i;
}

static bool is_in_the_way(const struct applock *lock, const struct applock_request *request,
                          enum applock_mode mode)
{
    return is_resource(lock, request) && lock->session != request->session &&
           !compatible[lock->mode][mode];
}

int applocks_get(struct applocks *locks, const struct applock_request *request,
                 enum applock_mode mode)
{
    size_t found = find(locks, request);

    for (size_t i = 0; i < locks->count; i++) {
        if (is_in_the_way(&locks->locks[i], request, mode))
            return APPLOCK_TIMEOUT;
    }
    if (found == locks->count) {
        locks->locks = memory_grow(locks->locks, locks->count + 1, sizeof(*locks->locks));
        locks->locks[locks->count++] = (struct applock){
            .session = request->session,
            .is_of_transaction = request->is_of_transaction,
            .database = request->database,
            .resource = memory_copy(request->resource),
            .mode = mode,
        };
    }
    if (mode > locks->locks[found].mode)
        locks->locks[found].mode = mode;
    locks->locks[found].held++;
    return APPLOCK_GRANTED;
}

int applocks_release(struct applocks *locks, const struct applock_request *request)
{
    size_t found = find(locks, request);

    if (found == locks->count)
        return APPLOCK_INVALID;
    if (--locks->locks[found].held == 0)
        remove_lock(locks, found);
    return APPLOCK_GRANTED;
}

void applocks_end_transaction(struct applocks *locks, int32_t session)
{
    for (size_t i = locks->count; i-- > 0;) {
        if (locks->locks[i].session == session && locks->locks[i].is_of_transaction)
            remove_lock(locks, i);
    }
}

void applocks_end_session(struct applocks *locks, int32_t session)
{
    for (size_t i = locks->count; i-- > 0;) {
        if (locks->locks[i].session == session)
            remove_lock(locks, i);
    }
}
