/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper.h"
#include "escrowd/keeper_member.h"
#include "escrowd/tpm_command.h"
#include "escrowd/tpm_provision.h"
#include "libescrow/file.h"
#include "libescrow/log.h"
#include "libescrow/tpm_recovery.h"
#include "tests/fault/inject.h"
#include "tests/unit/swtpm.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
#define TPM_MS 20000
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

/* A machine before its first init. */
struct machine {
    struct swtpm swtpm;
    char folder[200], state[220], recovery_file[220];
    EVP_PKEY *recovery;
    struct escrowd_config config;
};

static void machine_start(struct machine *machine)
{
    const char *base = getenv("TMPDIR");

    memset(machine, 0, sizeof(*machine));
    swtpm_start(&machine->swtpm);
    snprintf(machine->folder, sizeof(machine->folder), "%.150s/init.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(machine->folder));
    snprintf(machine->state, sizeof(machine->state), "%s/state", machine->folder);
    snprintf(machine->recovery_file, sizeof(machine->recovery_file), "%s/pem", machine->folder);
    assert_int_equal(mkdir(machine->state, 0700), 0);
    machine->recovery = key_generate();
    assert_int_equal(key_write_public(machine->recovery, machine->recovery_file), ESCROW_OK);
    machine->config = (struct escrowd_config){
        .member = "m0",
        .tpm = {.tcti = machine->swtpm.setting, .pcrs = 1U << 7},
        .state_folder = machine->state,
        .recovery_file = machine->recovery_file,
    };
}

static void machine_stop(struct machine *machine)
{
    static const char *const names[] = {MEMBER_STATEMENT, MEMBER_ANSWER_KEY, MEMBER_STORAGE_AUTH,
                                        MEMBER_RECOVERY};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[300];

        snprintf(path, sizeof(path), "%s/%s", machine->state, names[i]);
        unlink(path);
    }
    unlink(machine->recovery_file);
    assert_int_equal(rmdir(machine->state), 0);
    assert_int_equal(rmdir(machine->folder), 0);
    EVP_PKEY_free(machine->recovery);
    swtpm_stop(&machine->swtpm);
}

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

static bool has(const struct machine *machine, const char *name)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/%s", machine->state, name);
    return access(path, F_OK) == 0;
}

/* Returns how many files there are. */
static unsigned check_modes(const struct machine *machine)
{
    DIR *folder = opendir(machine->state);
    const struct dirent *entry;
    unsigned count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        const bool is_public = strcmp(entry->d_name, MEMBER_STATEMENT) == 0;
        struct stat status;

        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(status.st_mode, S_IFREG | (is_public ? 0644 : 0600));
        assert_true(status.st_size > 0);
        count++;
    }
    closedir(folder);
    return count;
}

static bool is_set(struct tpm *tpm, TPMA_PERMANENT bit)
{
    TPMS_CAPABILITY_DATA data = {0};
    TPMI_YES_NO more;

    assert_int_equal(Tss2_Sys_GetCapability(tpm->sys, NULL, TPM2_CAP_TPM_PROPERTIES,
                                            TPM2_PT_PERMANENT, 1, &more, &data, NULL),
                     0);
    return data.data.tpmProperties.tpmProperty[0].value & bit;
}

/* The value opens the hierarchy: it can be changed to itself. */
static void assert_opens(struct tpm *tpm, TPM2_HANDLE hierarchy, const struct secret *auth)
{
    TPM2B_AUTH same = {.size = (UINT16)auth->len};
    TSS2L_SYS_AUTH_COMMAND password;

    memcpy(same.buffer, auth->bytes, auth->len);
    tpm_password(auth, &password);
    assert_int_equal(Tss2_Sys_HierarchyChangeAuth(tpm->sys, hierarchy, &password, &same, NULL), 0);
}

/* Whatever auth value the TPM has, the recovery key finds. Returns whether init changed nothing. */
static bool check_tpm(const struct machine *machine)
{
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL;
    CLEANUP(secret_free_p) struct secret *owner = NULL, *lockout = NULL;
    CLEANUP(cleanup_free) char *text = NULL;
    char path[300];
    size_t len;

    assert_int_equal(tpm_open(machine->config.tpm.tcti, TPM_MS, &tpm), ESCROW_OK);
    if (tpm_provision_check(tpm) == ESCROW_OK)
        return true;
    assert_true(has(machine, MEMBER_STORAGE_AUTH) && has(machine, MEMBER_ANSWER_KEY));
    snprintf(path, sizeof(path), "%s/%s", machine->state, MEMBER_RECOVERY);
    assert_int_equal(file_read(path, 4096, &text, &len), ESCROW_OK);
    assert_int_equal(tpm_recovery_open(text, len, machine->recovery, &owner, &lockout), ESCROW_OK);
    if (is_set(tpm, TPMA_PERMANENT_OWNERAUTHSET))
        assert_opens(tpm, TPM2_RH_OWNER, owner);
    if (is_set(tpm, TPMA_PERMANENT_LOCKOUTAUTHSET))
        assert_opens(tpm, TPM2_RH_LOCKOUT, lockout);
    return false;
}

/* A member that the keeper starts with. */
static void assert_member(const struct machine *machine)
{
    CLEANUP(keeper_member_free_p) struct keeper_member *member = NULL;
    CLEANUP(tpm_close_p) struct tpm *tpm = NULL; /* borrows from member */

    assert_int_equal(check_modes(machine), 4);
    assert_int_equal(keeper_member_load(&machine->config, &member), ESCROW_OK);
    assert_int_equal(tpm_open(machine->config.tpm.tcti, TPM_MS, &tpm), ESCROW_OK);
    tpm_attach(tpm, &member->names, member->storage_auth);
    assert_int_equal(tpm_check(tpm), ESCROW_OK);
}

/* What an init left that did not succeed. Returns whether a second one makes a member. */
static bool check_half(const struct machine *machine)
{
    CLEANUP(keeper_member_free_p) struct keeper_member *member = NULL;
    const unsigned files = check_modes(machine);
    const bool is_untouched = check_tpm(machine);
    int code;

    assert_false(has(machine, MEMBER_STATEMENT));
    assert_int_equal(keeper_member_load(&machine->config, &member), ESCROW_ERR_CONFIG);
    code = run_init(machine, NULL, NULL);
    if (code == 0) {
        assert_true(is_untouched);
        return true;
    }
    assert_int_equal(code, escrow_err_exit_code(ESCROW_ERR_EXISTS));
    assert_int_equal(check_modes(machine), files);
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
        assert_member(&machine);
        assert_int_equal(run_init(&machine, NULL, NULL), escrow_err_exit_code(ESCROW_ERR_EXISTS));
    } else {
        counts->kept++;
        /* What failed once before the TPM was changed is forgotten. */
        assert_true(order->span > 1 || order->class == INJECT_TPM || !check_tpm(&machine));
    }
    counts->made += code == 0;
    counts->undone += code != 0 && has(&machine, MEMBER_STATEMENT);
    machine_stop(&machine);
}

static size_t count_places(struct inject_order *orders, size_t cap)
{
    struct machine machine;
    struct inject_report report;
    size_t count = 0;

    machine_start(&machine);
    assert_int_equal(run_init(&machine, NULL, &report), 0);
    assert_member(&machine);
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
