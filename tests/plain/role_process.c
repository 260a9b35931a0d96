/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/plain/role_process.h"

#include "libescrow/cleanup.h"
#include "tests/plain/attempts.h"

#include <seccomp.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FIRST_FD 3
#define CANNOT_START 99

static void place_fds(const struct role_process *process)
{
    int high[ROLE_FDS_MAX];

    for (int i = 0; i < ROLE_FDS_MAX; i++)
        high[i] = process->fds[i] < 0 ? -1 : fcntl(process->fds[i], F_DUPFD, 64);
    for (int i = 0; i < ROLE_FDS_MAX; i++)
        if (high[i] >= 0 && dup2(high[i], FIRST_FD + i) < 0)
            _exit(CANNOT_START);
    close_range(FIRST_FD + ROLE_FDS_MAX, ~0U, 0);
    for (int i = 0; i < ROLE_FDS_MAX; i++)
        if (high[i] < 0)
            close(FIRST_FD + i);
}

/* A kernel that lacks these calls, or these values of their first argument. */
static void deny(const char *calls, int error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    CLEANUP(cleanup_free) char *words = strdup(calls);
    char *rest = NULL;

    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        struct scmp_arg_cmp first = SCMP_A0(SCMP_CMP_EQ, value ? strtoul(value + 1, NULL, 0) : 0);

        if (value)
            *value = 0;
        if (seccomp_rule_add_array(filter, SCMP_ACT_ERRNO((uint32_t)error),
                                   seccomp_syscall_resolve_name(word), value ? 1 : 0, &first) != 0)
            _exit(CANNOT_START);
    }
    if (seccomp_load(filter) != 0)
        _exit(CANNOT_START);
    seccomp_release(filter);
}

/* What a role that was started by root may find, and must give up. */
static void give_root_more(void)
{
    const struct rlimit cores = {RLIM_INFINITY, RLIM_INFINITY};
    const gid_t group = 64999;

    if (geteuid() == 0 && (setgroups(1, &group) != 0 || setrlimit(RLIMIT_CORE, &cores) != 0))
        _exit(CANNOT_START);
}

static _Noreturn void become(const struct role_process *process)
{
    char *argv[16];
    size_t count = 0;

    while (process->argv[count])
        count++;
    memcpy(argv, process->argv, (count + 1) * sizeof(*argv)); /* execve(2) leaves them */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    give_root_more();
    if (setenv(ATTEMPT_VARIABLE, process->attempt, 1) != 0 ||
        (process->argument && setenv(ATTEMPT_ARGUMENT, process->argument, 1) != 0))
        _exit(CANNOT_START);
    place_fds(process);
    if (process->denied)
        deny(process->denied, process->denied_with);
    execve("/proc/self/exe", argv, environ);
    _exit(CANNOT_START);
}

int role_process_run(const struct role_process *process, char *text, size_t cap)
{
    CLEANUP(cleanup_close) int log = memfd_create("log", MFD_CLOEXEC);
    int status;
    pid_t pid;

    assert_true(log >= 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(log, STDERR_FILENO);
        become(process);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (text) {
        ssize_t len = pread(log, text, cap - 1, 0);

        text[len > 0 ? len : 0] = 0;
    }
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? ROLE_KILLED : ROLE_ENDED + WTERMSIG(status);
    return WEXITSTATUS(status) < ATTEMPT_OK ? ROLE_ENDED + WEXITSTATUS(status)
                                            : WEXITSTATUS(status) - ATTEMPT_OK;
}

struct role_sibling role_sibling_start(const struct role_process *process)
{
    struct role_process staying = *process;
    struct role_sibling sibling;
    int in[2], out[2];
    char byte;

    staying.attempt = "stay";
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    sibling.pid = fork();
    assert_true(sibling.pid >= 0);
    if (sibling.pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        become(&staying);
    }
    close(in[0]);
    close(out[1]);
    sibling.hold = in[1];
    assert_int_equal(read(out[0], &byte, 1), 1);
    close(out[0]);
    return sibling;
}

void role_sibling_end(struct role_sibling *sibling)
{
    int status;

    cleanup_close(&sibling->hold);
    assert_int_equal(waitpid(sibling->pid, &status, 0), sibling->pid);
    assert_int_equal(WEXITSTATUS(status), ATTEMPT_OK);
}

void role_sibling_status(const struct role_sibling *sibling, const char *field, char *ret_text,
                         size_t cap)
{
    char path[64], line[256];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", sibling->pid);
    file = fopen(path, "re");
    assert_non_null(file);
    ret_text[0] = 0;
    while (!ret_text[0] && fgets(line, sizeof(line), file)) {
        if (strncmp(line, field, strlen(field)) == 0)
            snprintf(ret_text, cap, "%.*s", (int)strcspn(line + strlen(field) + 1, "\n"),
                     line + strlen(field) + 1);
    }
    fclose(file);
}

/* Soft and hard. */
static void assert_limit(const struct role_sibling *sibling, const char *name, const char *wanted)
{
    char path[64], line[256], soft[32] = "", hard[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/limits", sibling->pid);
    file = fopen(path, "re");
    assert_non_null(file);
    while (!hard[0] && fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, strlen(name)) == 0)
            assert_int_equal(sscanf(line + strlen(name), "%31s %31s", soft, hard), 2);
    }
    fclose(file);
    if (strcmp(soft, wanted) != 0 || strcmp(hard, wanted) != 0)
        fail_msg("%s: %s, %s", name, soft, hard);
}

void role_sibling_check(const struct role_sibling *sibling, bool has_threads)
{
    static const char *const wanted[][2] = {
        {"NoNewPrivs:", "1"},
        {"Seccomp:", "2"},
    };
    char text[256];

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        role_sibling_status(sibling, wanted[i][0], text, sizeof(text));
        if (strcmp(text, wanted[i][1]) != 0)
            fail_msg("%s %s", wanted[i][0], text);
    }
    assert_limit(sibling, "Max core file size", "0");
    if (!has_threads)
        assert_limit(sibling, "Max processes", "0");
}

bool role_sibling_shares_network(const struct role_sibling *sibling)
{
    struct stat own, other;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/ns/net", sibling->pid);
    assert_int_equal(stat("/proc/self/ns/net", &own), 0);
    assert_int_equal(stat(path, &other), 0);
    return own.st_ino == other.st_ino;
}

int role_process_landlock(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}
