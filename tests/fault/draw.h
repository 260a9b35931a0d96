/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* The next number from a seed, which moves on (SplitMix64): a run is repeated by its first seed. */
static inline uint64_t draw_number(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}
