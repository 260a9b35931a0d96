/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/inject.h"

#include <stdatomic.h>
#include <stddef.h>

static atomic_bool is_on, is_paused;
static atomic_uint_fast64_t calls, failures;
static _Atomic(const char *) last;
static struct inject_plan in_force;

void inject_start(const struct inject_plan *plan)
{
    in_force = *plan;
    calls = 0;
    failures = 0;
    last = NULL;
    is_on = true;
}

uint64_t inject_stop(void)
{
    is_on = false;
    return calls;
}

void inject_hold(bool is_held)
{
    is_paused = is_held;
}

uint64_t inject_failures(void)
{
    return failures;
}

const char *inject_last(void)
{
    return last;
}

bool inject_now(const char *function)
{
    uint64_t call;

    if (!is_on || is_paused)
        return false;
    call = calls++;
    if (call < in_force.first)
        return false;
    if (call > in_force.first &&
        (!in_force.one_in || inject_mix(in_force.seed + call) % in_force.one_in != 0))
        return false;
    last = function;
    failures++;
    return true;
}

uint64_t inject_mix(uint64_t number)
{
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

uint64_t inject_hash(const void *bytes, uint64_t len)
{
    const uint8_t *in = bytes;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (uint64_t i = 0; i < len; i++)
        hash = (hash ^ in[i]) * UINT64_C(0x100000001b3);
    return inject_mix(hash);
}
