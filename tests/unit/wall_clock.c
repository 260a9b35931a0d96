/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/wall_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static struct {
    _Atomic int64_t wall_ms, boot_ms;
} * shared_off;

/* NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */
int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    int result = __real_clock_gettime(clock, ret_time);

    if (clock == CLOCK_REALTIME && shared_off)
        ret_time->tv_sec += shared_off->wall_ms / 1000;
    if (clock == CLOCK_BOOTTIME && shared_off)
        ret_time->tv_sec += shared_off->boot_ms / 1000;
    return result;
}
/* NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */

void wall_clock_share(void)
{
    shared_off =
        mmap(NULL, sizeof(*shared_off), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared_off == MAP_FAILED) {
        perror("mmap");
        abort();
    }
}

void wall_clock_move(int64_t off_ms)
{
    shared_off->wall_ms = off_ms;
}

void boot_clock_move(int64_t off_ms)
{
    shared_off->boot_ms = off_ms;
}
