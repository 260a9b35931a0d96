/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/inject.h"

#include "tests/fault/inject_libraries.h"

#include <err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Shared with every process forked later. One process writes the order, one counts. */
struct shared {
    atomic_bool is_armed;
    struct inject_order order;
    uint64_t chance; /* the generator's state */
    struct inject_report report;
    int written_fd;
    int64_t written, synced;
};

static struct shared *shared;
static bool is_here;
static unsigned held; /* a call may hold inside another that holds */

void inject_init(void)
{
    if (shared)
        return;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(1, "mmap");
    shared->written_fd = -1;
    inject_libraries();
}

void inject_here(void)
{
    is_here = true;
}

void inject_arm(const struct inject_order *order)
{
    static const struct inject_order nothing = {.at = UINT64_MAX, .span = 1};

    shared->order = order ? *order : nothing;
    shared->chance = shared->order.seed;
    memset(&shared->report, 0, sizeof(shared->report));
    atomic_store(&shared->is_armed, true);
}

void inject_disarm(struct inject_report *ret_report)
{
    atomic_store(&shared->is_armed, false);
    *ret_report = shared->report;
}

const char *inject_class_name(enum inject_class class)
{
    static const char *const names[INJECT_CLASSES] = {"memory", "crypto", "openssl", "tpm",
                                                      "store",  "file",   "socket"};

    return names[class];
}

uint64_t inject_draw(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static bool is_due(enum inject_class class, uint64_t call)
{
    const struct inject_order *order = &shared->order;

    if (order->at == 0)
        return inject_draw(&shared->chance) % order->one_in == 0;
    return class == order->class && call >= order->at && call - order->at < order->span;
}

unsigned inject_due(enum inject_class class, const char *call)
{
    if (!is_here || held || !atomic_load(&shared->is_armed))
        return 0;
    if (!is_due(class, ++shared->report.calls[class]))
        return 0;
    shared->report.failed++;
    snprintf(shared->report.last, sizeof(shared->report.last), "%s", call);
    return 1 + (shared->order.at ? shared->order.variant
                                 : (unsigned)(inject_draw(&shared->chance) % 16));
}

void inject_hold(bool hold)
{
    held += hold ? 1U : -1U;
}

void inject_forget_synced(void)
{
    shared->synced = 0;
}

int64_t inject_synced(void)
{
    return shared->synced;
}

void inject_wrote(int fd, int64_t end)
{
    if (!is_here)
        return;
    shared->written_fd = fd;
    shared->written = end;
}

void inject_synced_file(int fd)
{
    if (is_here && fd == shared->written_fd)
        shared->synced = shared->written;
}
