/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/memory_search.h"

#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ASan's shadow is larger by far, and holds no data. */
#define REGION_MAX ((size_t)1 << 30)
/* What belongs to a secret: its header and its bytes. */
#define SECRET_MAX 1024

static size_t count_in(const uint8_t *at, size_t len, const void *bytes, size_t wanted,
                       uintptr_t base, uintptr_t secret)
{
    const uint8_t *end = at + len, *found = at;
    size_t count = 0;

    while ((found = memmem(found, (size_t)(end - found), bytes, wanted)) != NULL) {
        uintptr_t address = base + (uintptr_t)(found - at);

        count += address < secret || address >= secret + SECRET_MAX;
        found++;
    }
    return count;
}

size_t memory_search(const void *bytes, size_t len, const void *secret)
{
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    FILE *maps = fopen("/proc/self/maps", "re");
    /* Of its own mapping, so that what is read is not found again. */
    uint8_t *copy = mmap(NULL, REGION_MAX, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char line[512];
    size_t count = 0;
    uintptr_t from, to;

    if (memory < 0 || !maps || copy == MAP_FAILED)
        err(1, "memory_search");
    while (fgets(line, sizeof(line), maps)) {
        char *rest = line;
        ssize_t got;

        /* FROM-TO rwxp ... (proc(5)) */
        from = strtoul(rest, &rest, 16);
        to = strtoul(rest + 1, &rest, 16);
        if (rest[2] != 'w' || to - from >= REGION_MAX ||
            ((uintptr_t)copy >= from && (uintptr_t)copy < to))
            continue;
        got = pread(memory, copy, to - from, (off_t)from);
        if (got > 0)
            count += count_in(copy, (size_t)got, bytes, len, from, (uintptr_t)secret);
    }
    munmap(copy, REGION_MAX);
    fclose(maps);
    close(memory);
    return count;
}
