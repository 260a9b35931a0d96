/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_harden.h"

#include "libescrow/log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* The ODBC driver and its libraries map less than half of it. */
#define WORKER_ROOM_BYTES ((size_t)256 * 1024 * 1024)

enum escrow_err agent_harden(void)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        return ESCROW_OK;
    log_error("cannot harden this process: %s", strerror(errno));
    return ESCROW_ERR_SYSTEM;
}

/*
 * The limit counts what is mapped, and a mapping that exceeds it fails later as "out of memory" in
 * the middle of some library. So the room is tried out here, where it can be said.
 */
static enum escrow_err check_room(void)
{
    void *room = mmap(NULL, WORKER_ROOM_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (room == MAP_FAILED)
        return ESCROW_ERR_SYSTEM;
    munmap(room, WORKER_ROOM_BYTES);
    return ESCROW_OK;
}

enum escrow_err agent_harden_memory(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_MEMLOCK, &limit);
    }
    /* On fault: pages that nobody touches need not be in memory to be kept out of swap. */
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0 && check_room() == ESCROW_OK)
        return ESCROW_OK;
    log_error("cannot lock memory (%s): raise the limit (LimitMEMLOCK=infinity in the unit, "
              "ulimit -l unlimited); without it a password could reach swap, so nothing is asked",
              strerror(errno));
    return ESCROW_ERR_SYSTEM;
}
