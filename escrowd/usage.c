/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/usage.h"

#include "escrowd/metric.h"
#include "escrowd/sandbox_table.h"
#include "libescrow/cleanup.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void usage_init(enum ipc_peer_kind kind, const struct escrowd_config *config,
                struct usage *ret_usage)
{
    struct sandbox_plan plan;

    sandbox_plan_of(kind, config, NULL, &plan);
    *ret_usage = (struct usage){.statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC),
                                .started_s = time(NULL),
                                .descriptors = plan.descriptors};
}

void usage_deinit(struct usage *usage)
{
    cleanup_close(&usage->statm_fd);
}

/* proc(5): size and resident, in pages. 0 if it cannot be known. */
static int64_t resident_bytes(const struct usage *usage)
{
    char text[128], *second;
    ssize_t len = -1;

    if (usage->statm_fd >= 0 && lseek(usage->statm_fd, 0, SEEK_SET) == 0)
        len = read(usage->statm_fd, text, sizeof(text) - 1);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    second = strchr(text, ' ');
    return second ? (int64_t)strtol(second, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

/* One call for all: /proc/self/fd is behind the sandbox. */
static int64_t count_descriptors(size_t most)
{
    CLEANUP(cleanup_free) struct pollfd *polled = calloc(most, sizeof(*polled));
    int64_t count = 0;

    if (!polled)
        return 0;
    for (size_t i = 0; i < most; i++)
        polled[i] = (struct pollfd){.fd = (int)i};
    if (poll(polled, most, 0) < 0)
        return 0;
    for (size_t i = 0; i < most; i++)
        count += (polled[i].revents & POLLNVAL) == 0;
    return count;
}

static uint64_t cpu_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

void usage_write(FILE *out, const char *role, const struct usage *usage)
{
    char name[64];

    snprintf(name, sizeof(name), "%s_start_time_seconds", role);
    metric_single(out, name, METRIC_GAUGE, "Unix time at which the process started.",
                  usage->started_s);
    snprintf(name, sizeof(name), "%s_cpu_seconds_total", role);
    metric_family(out, name, METRIC_COUNTER, "Processor time of the process.");
    metric_seconds(out, name, "", cpu_us());
    snprintf(name, sizeof(name), "%s_resident_memory_bytes", role);
    metric_single(out, name, METRIC_GAUGE, "Resident memory of the process.",
                  resident_bytes(usage));
    snprintf(name, sizeof(name), "%s_open_fds", role);
    metric_single(out, name, METRIC_GAUGE, "Open file descriptors of the process.",
                  count_descriptors(usage->descriptors));
}
