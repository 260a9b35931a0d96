/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bare fsync of a record: appends 4 KiB to a file and waits for the disk, COUNT times.
 *
 *   sync FILE COUNT
 *
 * Prints as stopwatch.h says.
 */
#include "libescrow/cleanup.h"
#include "tests/bench/stopwatch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RECORD_BYTES 4096

int main(int argc, char **argv)
{
    static const char record[RECORD_BYTES];
    size_t count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    CLEANUP(cleanup_free) int64_t *times_us = calloc(count + 1, sizeof(*times_us));
    CLEANUP(cleanup_close)
    int fd = argc == 3 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    int64_t begin_us = stopwatch_us();

    if (count == 0 || !times_us || fd < 0) {
        fputs("usage: sync FILE COUNT\n", stderr);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t start_us = stopwatch_us();

        if (write(fd, record, sizeof(record)) != sizeof(record) || fdatasync(fd) != 0)
            return EXIT_FAILURE;
        times_us[i] = stopwatch_us() - start_us;
    }
    stopwatch_print(times_us, count, stopwatch_us() - begin_us);
    return EXIT_SUCCESS;
}
