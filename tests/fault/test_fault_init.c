/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper.h"
#include "escrowd/keeper_member.h"
#include "libescrow/log.h"
#include "tests/fault/init_machine.h"
#include "tests/fault/inject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * `escrowd init`, with every place that it makes calls from failing once, alone or with all that
 * follows (those of files and a sample, unless ESCROW_TEST_ALL is 1; ESCROW_TEST_SEED repeats it).
 * Whatever fails: no file that others may read, no statement of half a member, no TPM with an auth
 * value that nobody has, and a second init that makes a member or says why it does not.
 */

#define ONE_IN 15 /* places, of a sample */
#define SANITIZER_EXIT 99
#define FOR_LONG 1000000
#define VARIANTS 6

/* NOLINTBEGIN(readability-identifier-naming): the sanitizers call them by these names */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "exitcode=99";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "exitcode=99";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "exitcode=99";
}
/* NOLINTEND(readability-identifier-naming) */

/* Init as a process of its own, under an order or none; its exit code. */
static int run_init(const struct machine *machine, const struct inject_order *order,
                    struct inject_report *ret_report)
{
    struct inject_report report;
    int status;
    pid_t pid;

    inject_arm(order);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        inject_here();
        exit(escrow_err_exit_code(keeper_init(&machine->config)));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    inject_disarm(&report);
    if (ret_report)
        *ret_report = report;
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) < SANITIZER_EXIT);
    return WEXITSTATUS(status);
}

/* What an init left that did not succeed. Returns whether a second one makes a member. */
static bool check_half(const struct machine *machine)
{
    CLEANUP(keeper_member_free_p) struct keeper_member *member = NULL;
    const unsigned files = machine_check_files(machine, false);
    const bool is_untouched = machine_check_tpm(machine);
    int code;

    assert_false(machine_has(machine, MEMBER_STATEMENT));
    assert_int_equal(keeper_member_load(&machine->config, &member), ESCROW_ERR_CONFIG);
    code = run_init(machine, NULL, NULL);
    if (code == 0) {
        assert_true(is_untouched);
        return true;
    }
    assert_int_equal(code, escrow_err_exit_code(ESCROW_ERR_EXISTS));
    assert_int_equal(machine_check_files(machine, false), files);
    return false;
}

struct counts {
    unsigned made, undone, kept;
};

static void try(const struct inject_order *order, struct counts *counts)
{
    struct machine machine;
    int code;

    machine_start(&machine);
    code = run_init(&machine, order, NULL);
    if (code == 0 || check_half(&machine)) {
        machine_assert_member(&machine);
        assert_int_equal(run_init(&machine, NULL, NULL), escrow_err_exit_code(ESCROW_ERR_EXISTS));
    } else {
        counts->kept++;
        /* What failed once before the TPM was changed is forgotten. */
        assert_true(order->span > 1 || order->class == INJECT_TPM || !machine_check_tpm(&machine));
    }
    counts->made += code == 0;
    counts->undone += code != 0 && machine_has(&machine, MEMBER_STATEMENT);
    machine_stop(&machine);
}

static size_t count_places(struct inject_order *orders, size_t cap)
{
    struct machine machine;
    struct inject_report report;
    size_t count = 0;

    machine_start(&machine);
    assert_int_equal(run_init(&machine, NULL, &report), 0);
    machine_assert_member(&machine);
    machine_stop(&machine);
    for (int class = 0; class < INJECT_CLASSES; class ++) {
        size_t places;
        CLEANUP(cleanup_free) uint32_t *firsts = inject_firsts((enum inject_class) class, &places);

        /* OpenSSL 3.0 leaks what it had when it cannot finish its own initialisation. */
        for (size_t i = 0; i < places && class != INJECT_OPENSSL; i++) {
            assert_true(count < cap);
            orders[count++] = (struct inject_order){.class = (enum inject_class) class,
                                                    .at = firsts[i],
                                                    .span = i % 3 ? 1 : FOR_LONG,
                                                    .variant = (unsigned)(i % VARIANTS)};
        }
    }
    return count;
}

static void test_init(void **state)
{
    static struct inject_order orders[4000];
    const char *all = getenv("ESCROW_TEST_ALL"), *wanted = getenv("ESCROW_TEST_SEED");
    const bool is_all = all && strcmp(all, "1") == 0;
    const uint64_t first_seed = wanted ? strtoull(wanted, NULL, 10) : (uint64_t)time(NULL);
    const size_t places = count_places(orders, ARRAY_LEN(orders));
    struct counts counts = {0};
    uint64_t seed = first_seed;
    size_t runs = 0;

    (void)state;
    for (size_t i = 0; i < places; i++) {
        const struct inject_order *order = &orders[i];

        if (inject_draw(&seed) % ONE_IN && (order->class != INJECT_FILE || order->span > 1) &&
            !is_all)
            continue;
        if (getenv("ESCROW_TEST_VERBOSE"))
            print_message("# %s %llu, %llu of them, variant %u\n", inject_class_name(order->class),
                          (unsigned long long)order->at, (unsigned long long)order->span,
                          order->variant);
        try(order, &counts);
        runs++;
    }
    print_message("# sampled %zu of %zu (seed %llu)\n", runs, places,
                  (unsigned long long)first_seed);
    print_message("# %u made nevertheless, %u undone, %u kept\n", counts.made, counts.undone,
                  counts.kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_init)};

    log_init("init", getenv("ESCROW_TEST_VERBOSE") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR - 1);
    inject_init();
    if (secret_heap_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
