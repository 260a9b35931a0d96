/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/probe_hold.h"

#include "libescrow/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool probe_hold_is_on(const struct probe_hold *hold)
{
    return hold->is_refused && now_ms() < hold->until_ms;
}

void probe_hold_begin(struct probe_hold *hold, const char *instance, int32_t sql_error,
                      const char diagnosis[static PROBE_TEXT_MAX])
{
    bool is_news = !hold->is_refused || hold->sql_error != sql_error;
    time_t until = time(NULL) + PROBE_HOLD_MS / 1000;
    char number[32] = "", clock[16];
    struct tm parts;

    *hold = (struct probe_hold){
        .until_ms = now_ms() + PROBE_HOLD_MS, .is_refused = true, .sql_error = sql_error};
    memcpy(hold->diagnosis, diagnosis, sizeof(hold->diagnosis));
    if (sql_error)
        snprintf(number, sizeof(number), " (SQL error %d)", sql_error);
    strftime(clock, sizeof(clock), "%H:%M:%S", gmtime_r(&until, &parts));
    log_write(
        is_news ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
        "%s: the login was refused%s: each attempt may lock the account, so none is tried again "
        "before %s UTC; a change of the password, keytab or CA file ends that at once",
        instance, number, clock);
}

void probe_hold_end(struct probe_hold *hold)
{
    *hold = (struct probe_hold){0};
}
