/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target over its corpus, as a test of the suite: each file once as it is, and then with
 * each of its calls into other libraries failing once, in turn. Of a file with many calls a sample
 * unless ESCROW_TEST_ALL=1. argv[1], or FUZZ_CORPUS of the build: the folder or file.
 */
#include "libescrow/cleanup.h"
#include "libescrow/file.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define SAMPLED 48 /* failing calls of one file */

static struct {
    const char *file;
    uint64_t call;
} now;

/* Runs when a sanitizer has found something: says how to see it again. */
static void on_finding(void)
{
    const char *failed = inject_last();

    inject_stop();
    fprintf(stderr, "replay: %s, call %lld, injected: %s\n", now.file, (long long)now.call,
            failed ? failed : "nothing");
}

static void replay_failures(const uint8_t *bytes, size_t len, uint64_t calls)
{
    const char *all = getenv("ESCROW_TEST_ALL");
    const uint64_t seed = inject_hash(bytes, len);
    const bool is_sampled = calls > SAMPLED && !(all && strcmp(all, "1") == 0);
    const uint64_t count = is_sampled ? SAMPLED : calls;

    if (is_sampled)
        printf("# sampled %d of %llu (seed %llu)\n", SAMPLED, (unsigned long long)calls,
               (unsigned long long)seed);
    for (uint64_t i = 0; i < count; i++) {
        now.call = is_sampled ? inject_mix(seed + i) % calls : i;
        fuzz_run(bytes, len, &(struct inject_plan){.first = now.call});
    }
}

static bool replay(const char *path)
{
    static unsigned number;
    CLEANUP(cleanup_free) char *text = NULL;
    uint64_t calls;
    bool is_good;
    size_t len;

    now.file = path;
    now.call = INJECT_NEVER;
    is_good = file_read(path, FILE_MAX_BYTES, &text, &len) == ESCROW_OK;
    if (is_good) {
        /* The first run also pays for what OpenSSL makes once and keeps. */
        fuzz_run((const uint8_t *)text, len, &(struct inject_plan){.first = INJECT_NEVER});
        calls = fuzz_run((const uint8_t *)text, len, &(struct inject_plan){.first = INJECT_NEVER});
        replay_failures((const uint8_t *)text, len, calls);
        is_good = __lsan_do_recoverable_leak_check() == 0;
    }
    printf("%s %u - %s\n", is_good ? "ok" : "not ok", ++number, path);
    fflush(stdout);
    return is_good;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : FUZZ_CORPUS;
    struct dirent **entries = NULL;
    int count, good = 0;
    struct stat status;

    __sanitizer_set_death_callback(on_finding);
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode))
        return replay(path) ? 0 : 1;
    count = scandir(path, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        char file[4096];

        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        good += replay(file);
        free(entries[i]);
    }
    free(entries);
    printf("1..%d\n", count > 0 ? count : 0);
    return count > 0 && good == count ? 0 : 1;
}
