/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/*
 * The wall clock of a test and of the processes that it has forked: as far off as a test says, at
 * once and for all of them. For programs that are linked with --wrap=clock_gettime.
 */

/* Before anything is forked. */
void wall_clock_share(void);
/* From now on; 0: right again. */
void wall_clock_move(int64_t off_ms);
/*
 * The same for the clock by which deadlines are judged: as if the process had been held up for so
 * long. Timers that run know nothing of it. Never back while a keeper runs.
 */
void boot_clock_move(int64_t off_ms);
/*
 * That clock stands still until it goes on, or is moved: what is done meanwhile takes no time,
 * however slow the machine is. boot_clock_pass(): while it stands still, so much passes at once.
 */
void boot_clock_hold(void);
void boot_clock_pass(int64_t ms);
void boot_clock_go_on(void);
