/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/inject.h"

#include "libescrow/cleanup.h"
#include "tests/fault/draw.h"
#include "tests/fault/inject_libraries.h"

#include <err.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FRAMES 16 /* the innermost */
#define STACKS_MAX 16384U

/* Shared with every process forked later. One process writes the order, one counts. */
struct shared {
    atomic_bool is_armed;
    struct inject_order order;
    uint64_t chance; /* the generator's state */
    struct inject_report report;
    int written_fd;
    int64_t written, synced;
    uint64_t stacks[2 * STACKS_MAX]; /* seen so far while nothing was to fail; 0: free */
    size_t stack_count;
    uint32_t firsts[INJECT_CLASSES][STACKS_MAX];
    size_t first_counts[INJECT_CLASSES];
};

static struct shared *shared;
static bool is_here;
static _Thread_local unsigned held; /* a call may hold inside another that holds */

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
    void *frame;

    /* The first call loads the unwinder, which allocates. */
    (void)backtrace(&frame, 1);
    is_here = true;
}

void inject_arm(const struct inject_order *order)
{
    static const struct inject_order nothing = {.at = UINT64_MAX, .span = 1};

    shared->order = order ? *order : nothing;
    shared->chance = shared->order.seed;
    memset(&shared->report, 0, sizeof(shared->report));
    memset(shared->first_counts, 0, sizeof(shared->first_counts));
    atomic_store(&shared->is_armed, true);
}

void inject_disarm(struct inject_report *ret_report)
{
    atomic_store(&shared->is_armed, false);
    *ret_report = shared->report;
}

const char *inject_class_name(enum inject_class class)
{
    static const char *const names[INJECT_CLASSES] = {"memory", "crypto", "openssl", "tpm", "store",
                                                      "file",   "socket", "sql",     "http"};

    return names[class];
}

uint64_t inject_draw(uint64_t *seed)
{
    return draw_number(seed);
}

static bool is_due(enum inject_class class, const char *name, uint64_t call)
{
    const struct inject_order *order = &shared->order;

    if (order->at == 0)
        return inject_draw(&shared->chance) % order->one_in == 0;
    if (order->call && strcmp(order->call, name) != 0)
        return false;
    if (order->call)
        call = ++shared->report.named;
    return class == order->class && call >= order->at && call - order->at < order->span;
}

/* A number for where a call of this class comes from; never 0. */
static uint64_t stack_number(enum inject_class class)
{
    void *frames[FRAMES];
    const int count = backtrace(frames, FRAMES);
    uint64_t number = (uint64_t) class;

    for (int i = 0; i < count; i++) {
        number ^= (uintptr_t)frames[i];
        number = inject_draw(&number);
    }
    return number ? number : 1;
}

static void note_first(enum inject_class class, uint64_t call)
{
    const uint64_t number = stack_number(class);
    size_t at = number % ARRAY_LEN(shared->stacks);

    while (shared->stacks[at] != 0 && shared->stacks[at] != number)
        at = (at + 1) % ARRAY_LEN(shared->stacks);
    if (shared->stacks[at] == number)
        return;
    if (++shared->stack_count > STACKS_MAX)
        errx(1, "calls come from more than %u places", STACKS_MAX);
    shared->stacks[at] = number;
    shared->firsts[class][shared->first_counts[class]++] = (uint32_t)call;
}

uint32_t *inject_firsts(enum inject_class class, size_t *ret_count)
{
    const size_t count = shared->first_counts[class];
    uint32_t *firsts = count ? calloc(count, sizeof(*firsts)) : NULL;

    if (count && !firsts)
        errx(1, "no memory");
    if (firsts)
        memcpy(firsts, shared->firsts[class], count * sizeof(*firsts));
    *ret_count = count;
    return firsts;
}

unsigned inject_due(enum inject_class class, const char *call)
{
    if (!is_here || held || !atomic_load(&shared->is_armed))
        return 0;
    if (!is_due(class, call, ++shared->report.calls[class])) {
        if (shared->order.at == UINT64_MAX && !shared->order.call) {
            inject_hold(true);
            note_first(class, shared->report.calls[class]);
            inject_hold(false);
        }
        return 0;
    }
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
