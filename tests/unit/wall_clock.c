/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/wall_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

/* held_ns: what the clock of deadlines shows for as long as it stands still; 0: it goes. */
static struct {
    _Atomic int64_t wall_ms, boot_ns, held_ns;
} * shared_off;

/* NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
 */
int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

/* What the clock of deadlines shows where it does not stand still. */
static int64_t boot_ns(void)
{
    struct timespec now;

    __real_clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec + shared_off->boot_ns;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    int result = __real_clock_gettime(clock, ret_time);

    if (clock == CLOCK_REALTIME && shared_off)
        ret_time->tv_sec += shared_off->wall_ms / 1000;
    if (clock == CLOCK_BOOTTIME && shared_off) {
        const int64_t held_ns = shared_off->held_ns, now_ns = held_ns ? held_ns : boot_ns();

        *ret_time = (struct timespec){now_ns / NS_PER_S, now_ns % NS_PER_S};
    }
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
    shared_off->boot_ns = off_ms * NS_PER_MS;
    shared_off->held_ns = 0;
}

void boot_clock_hold(void)
{
    if (!shared_off->held_ns)
        shared_off->held_ns = boot_ns();
}

void boot_clock_pass(int64_t ms)
{
    shared_off->held_ns += ms * NS_PER_MS;
}

void boot_clock_go_on(void)
{
    if (!shared_off->held_ns)
        return;
    shared_off->boot_ns += shared_off->held_ns - boot_ns();
    shared_off->held_ns = 0;
}
