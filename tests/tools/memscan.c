/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks for a text in the memory of other processes, as UTF-8 and as UTF-16LE, in every mapping
 * that can be read. The text comes on standard input, so that it stands in no command line.
 *
 *   memscan PID... <TEXT
 *
 * Prints {"PID": copies, ...}. Exit code 0 if every process was read, whatever was found; else 1.
 */
#include "libescrow/cleanup.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 512
#define WINDOW ((size_t)1 << 20)

struct pattern {
    size_t len;
    uint8_t bytes[2 * TEXT_MAX];
};

static size_t count_in(const uint8_t *bytes, size_t len, const struct pattern *pattern)
{
    const uint8_t *at = bytes;
    size_t count = 0;

    while ((at = memmem(at, len - (size_t)(at - bytes), pattern->bytes, pattern->len)) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* Windows overlap by one byte less than the pattern, so that no copy is missed or counted twice. */
static size_t scan_range(int memory, uint64_t from, uint64_t until, const struct pattern *pattern,
                         uint8_t *window)
{
    size_t count = 0;

    while (from < until) {
        size_t wanted = until - from < WINDOW ? until - from : WINDOW;
        ssize_t got = pread(memory, window, wanted, (off_t)from);

        if (got < (ssize_t)pattern->len)
            break;
        count += count_in(window, (size_t)got, pattern);
        from += (size_t)got - pattern->len + 1;
    }
    return count;
}

/* AddressSanitizer maps terabytes of notes about the memory; none of them is the memory. */
#define SHADOW_BYTES ((uint64_t)1 << 40)

/* "FROM-UNTIL MODE ...", proc(5); false for what cannot be read. */
static bool parse_mapping(const char *line, uint64_t *ret_from, uint64_t *ret_until)
{
    char *end;

    *ret_from = strtoull(line, &end, 16);
    if (*end != '-')
        return false;
    *ret_until = strtoull(end + 1, &end, 16);
    return *ret_until - *ret_from < SHADOW_BYTES && end[0] == ' ' && end[1] == 'r' &&
           !strstr(line, "[vvar") && !strstr(line, "[vsyscall]");
}

static bool scan_process(const char *pid, const struct pattern *patterns, size_t pattern_count,
                         size_t *ret_copies)
{
    CLEANUP(cleanup_free) char *path = NULL;
    CLEANUP(cleanup_free) char *maps_path = NULL;
    CLEANUP(cleanup_free) uint8_t *window = malloc(WINDOW);
    CLEANUP(cleanup_close) int memory = -1;
    uint64_t from, until;
    size_t copies = 0;
    char line[4096];
    FILE *maps;

    if (!window || asprintf(&path, "/proc/%s/mem", pid) < 0 ||
        asprintf(&maps_path, "/proc/%s/maps", pid) < 0)
        return false;
    memory = open(path, O_RDONLY | O_CLOEXEC);
    maps = fopen(maps_path, "re");
    if (memory < 0 || !maps) {
        fprintf(stderr, "memscan: %s: %m\n", path);
        return false;
    }
    while (fgets(line, sizeof(line), maps)) {
        if (!parse_mapping(line, &from, &until))
            continue;
        for (size_t i = 0; i < pattern_count; i++)
            copies += scan_range(memory, from, until, &patterns[i], window);
    }
    fclose(maps);
    *ret_copies = copies;
    return true;
}

/* ASCII only: what the tests look for. */
static bool read_patterns(struct pattern patterns[static 2])
{
    char text[TEXT_MAX];
    size_t len = fread(text, 1, sizeof(text), stdin);

    while (len && text[len - 1] == '\n')
        len--;
    if (len < 8 || len == sizeof(text))
        return false;
    patterns[0].len = len;
    patterns[1].len = 2 * len;
    for (size_t i = 0; i < len; i++) {
        patterns[0].bytes[i] = (uint8_t)text[i];
        patterns[1].bytes[2 * i] = (uint8_t)text[i];
        patterns[1].bytes[2 * i + 1] = 0;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct pattern patterns[2];
    bool is_complete = true;

    if (argc < 2 || !read_patterns(patterns)) {
        fputs("usage: memscan PID... <TEXT (8 to 511 characters)\n", stderr);
        return 2;
    }
    printf("{");
    for (int i = 1; i < argc; i++) {
        size_t copies = 0;

        is_complete = scan_process(argv[i], patterns, 2, &copies) && is_complete;
        printf("%s\"%s\": %zu", i > 1 ? ", " : "", argv[i], copies);
    }
    printf("}\n");
    return is_complete ? 0 : 1;
}
