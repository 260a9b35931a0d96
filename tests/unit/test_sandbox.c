/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a role can still do inside its sandbox. Each attempt runs in a process of its own that
 * enters the sandbox first; its exit code is 0 (it could), an errno (it was refused), or it was
 * killed.
 */
#include "escrowd/sandbox.h"
#include "libescrow/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define USER_BASE 61001 /* numbers that no account has */
#define KILLED 1000
#define NOT_ENTERED 1001
#define EXIT_NOT_ENTERED 255

struct fixture {
    char folder[64];
    char state[96], audit[96], crl[96], other[96], password[96];
    struct escrowd_instance instance;
    struct escrowd_config config;
};

static void make(const char *path, mode_t mode, uid_t uid)
{
    if ((mode & S_IFMT) == S_IFDIR) {
        assert_int_equal(mkdir(path, mode & 07777), 0);
    } else {
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode & 07777);

        assert_true(fd >= 0);
        cleanup_close(&fd);
    }
    if (geteuid() == 0)
        assert_int_equal(lchown(path, uid, uid), 0);
}

static const char *under(const struct fixture *fixture, const char *name, char *ret_path,
                         size_t cap)
{
    snprintf(ret_path, cap, "%s/%s", fixture->folder, name);
    return ret_path;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *parent = getenv("TMPDIR");

    if (!fixture)
        return -1;
    *state = fixture;
    snprintf(fixture->folder, sizeof(fixture->folder), "%s/sandbox.XXXXXX",
             parent ? parent : "/tmp");
    if (!mkdtemp(fixture->folder) || chmod(fixture->folder, 0755) < 0)
        return -1;
    make(under(fixture, "state", fixture->state, sizeof(fixture->state)), S_IFDIR | 0700,
         USER_BASE);
    make(under(fixture, "audit", fixture->audit, sizeof(fixture->audit)), S_IFDIR | 0700,
         USER_BASE);
    make(under(fixture, "tls", fixture->crl, sizeof(fixture->crl)), S_IFDIR | 0755, 0);
    make(under(fixture, "tls/crl.pem", fixture->crl, sizeof(fixture->crl)), 0644, 0);
    make(under(fixture, "other", fixture->other, sizeof(fixture->other)), 0666, 0);
    make(under(fixture, "password", fixture->password, sizeof(fixture->password)), 0600,
         USER_BASE + 2);
    assert_int_equal(chmod(fixture->other, 0666), 0);
    fixture->instance = (struct escrowd_instance){.name = "sql1",
                                                  .address = "127.0.0.1",
                                                  .port = 1433,
                                                  .ca_file = fixture->crl,
                                                  .password_file = fixture->password};
    fixture->config =
        (struct escrowd_config){.tls = {.crl_file = fixture->crl},
                                .tpm = {.tcti = "swtpm:path=/nothing"},
                                .state_folder = fixture->state,
                                .audit_folder = fixture->audit,
                                .policy_file = fixture->crl,
                                .authority_file = fixture->crl,
                                .users = {.keeper = "61001", .front = "61002", .prober = "61003"},
                                .limits = {.connections = 16},
                                .instance_count = 1,
                                .instances = &fixture->instance};
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char path[128];

    unlink(fixture->crl);
    unlink(fixture->other);
    unlink(fixture->password);
    unlink(under(fixture, "state/new", path, sizeof(path)));
    rmdir(fixture->state);
    rmdir(fixture->audit);
    rmdir(under(fixture, "tls", path, sizeof(path)));
    rmdir(fixture->folder);
    free(fixture);
    return 0;
}

/* An attempt: 0, or the errno of its failure. */
typedef int (*attempt_fn)(const struct fixture *fixture);

static int attempt_in(enum ipc_peer_kind kind, const struct fixture *fixture, attempt_fn attempt)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        const char *instance = kind == IPC_PEER_PROBER ? "sql1" : "";

        /* Not exit(3): the sanitizer's end of a process is not what is tried here. */
        if (sandbox_enter(kind, &fixture->config, instance) != ESCROW_OK)
            _exit(EXIT_NOT_ENTERED);
        _exit(attempt(fixture));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGSYS);
        return KILLED;
    }
    return WEXITSTATUS(status) == EXIT_NOT_ENTERED ? NOT_ENTERED : WEXITSTATUS(status);
}

static int result_of(int value)
{
    return value < 0 ? errno : 0;
}

static int try_nothing(const struct fixture *fixture)
{
    (void)fixture;
    return 0;
}

static int try_read(const char *path)
{
    return result_of(open(path, O_RDONLY | O_CLOEXEC));
}

static int try_passwd(const struct fixture *fixture)
{
    (void)fixture;
    return try_read("/etc/passwd");
}

static int try_other_read(const struct fixture *fixture)
{
    return try_read(fixture->other);
}

static int try_other_write(const struct fixture *fixture)
{
    return result_of(open(fixture->other, O_WRONLY | O_CLOEXEC));
}

static int try_crl(const struct fixture *fixture)
{
    return try_read(fixture->crl);
}

static int try_crl_write(const struct fixture *fixture)
{
    return result_of(open(fixture->crl, O_WRONLY | O_CLOEXEC));
}

static int try_password(const struct fixture *fixture)
{
    return try_read(fixture->password);
}

static int try_state(const struct fixture *fixture)
{
    char path[128];

    return result_of(open(under(fixture, "state/new", path, sizeof(path)),
                          O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static int try_unix_socket(const struct fixture *fixture)
{
    (void)fixture;
    return result_of(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int try_tcp_socket(const struct fixture *fixture)
{
    (void)fixture;
    return result_of(socket(AF_INET, SOCK_STREAM, 0));
}

static int try_raw_socket(const struct fixture *fixture)
{
    (void)fixture;
    return result_of(socket(AF_PACKET, SOCK_RAW, 0));
}

static int try_listen(const struct fixture *fixture)
{
    (void)fixture;
    return result_of(listen(socket(AF_INET, SOCK_STREAM, 0), 1));
}

static int try_fork(const struct fixture *fixture)
{
    (void)fixture;
    return result_of(fork());
}

static int try_exec(const struct fixture *fixture)
{
    char *const argv[] = {NULL};

    (void)fixture;
    return result_of(execve("/bin/true", argv, argv));
}

static int try_ptrace(const struct fixture *fixture)
{
    (void)fixture;
    return result_of((int)ptrace(PTRACE_ATTACH, getpid(), NULL, NULL));
}

static int try_signal_others(const struct fixture *fixture)
{
    (void)fixture;
    return result_of(kill(1, 0));
}

static int try_executable_memory(const struct fixture *fixture)
{
    (void)fixture;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : 0;
}

static int try_root(const struct fixture *fixture)
{
    (void)fixture;
    return result_of(setuid(0));
}

static int try_mount(const struct fixture *fixture)
{
    (void)fixture;
    return result_of(chroot("/"));
}

/* What the sanitizers need is allowed in their builds, and then some attempts fail otherwise. */
#ifdef ESCROW_SANITIZE
#define EXECUTABLE 0
#else
#define EXECUTABLE KILLED
#endif

static const struct {
    const char *what;
    attempt_fn attempt;
    int keeper, front, prober;
} attempts[] = {
    {"nothing", try_nothing, 0, 0, 0},
    {"read /etc/passwd", try_passwd, EACCES, EACCES, EACCES},
    {"read another file that everybody may read", try_other_read, EACCES, EACCES, EACCES},
    {"write a file that everybody may write", try_other_write, EACCES, EACCES, EACCES},
    {"read the revocation list", try_crl, 0, EACCES, EACCES},
    {"write the revocation list", try_crl_write, EACCES, EACCES, EACCES},
    {"read the password of the instance", try_password, EACCES, EACCES, EACCES},
    {"write below the state folder", try_state, 0, EACCES, EACCES},
    {"make a Unix socket", try_unix_socket, 0, KILLED, EACCES},
    {"make a TCP socket", try_tcp_socket, KILLED, KILLED, 0},
    {"make a raw socket", try_raw_socket, KILLED, KILLED, KILLED},
    {"listen", try_listen, KILLED, KILLED, KILLED},
    {"fork", try_fork, KILLED, KILLED, KILLED},
    {"exec", try_exec, KILLED, KILLED, KILLED},
    {"ptrace", try_ptrace, KILLED, KILLED, KILLED},
    {"signal another process", try_signal_others, KILLED, KILLED, KILLED},
    {"map executable memory", try_executable_memory, EXECUTABLE, EXECUTABLE, EXECUTABLE},
    {"become root", try_root, KILLED, KILLED, KILLED},
    {"change root", try_mount, KILLED, KILLED, KILLED},
};

static void test_attempts(void **state)
{
    const struct fixture *fixture = *state;

    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1)
        skip(); /* this kernel lacks it, and the roles say so */
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        const int wanted[] = {[IPC_PEER_KEEPER] = attempts[i].keeper,
                              [IPC_PEER_FRONT] = attempts[i].front,
                              [IPC_PEER_PROBER] = attempts[i].prober};

        for (int kind = IPC_PEER_KEEPER; kind <= IPC_PEER_PROBER; kind++) {
            int got = attempt_in((enum ipc_peer_kind)kind, fixture, attempts[i].attempt);

            if (got != wanted[kind])
                fail_msg("%s in role %d: %d, expected %d", attempts[i].what, kind, got,
                         wanted[kind]);
        }
    }
}

/* ---- what the kernel says of such a process ---- */

struct child {
    pid_t pid;
    int entered, leave; /* pipes: read when it is inside, close to let it end */
};

static struct child enter_and_wait(enum ipc_peer_kind kind, const struct fixture *fixture)
{
    int entered[2], leave[2];
    struct child child;
    char byte = 0;

    assert_int_equal(pipe2(entered, O_CLOEXEC), 0);
    assert_int_equal(pipe2(leave, O_CLOEXEC), 0);
    child.pid = fork();
    if (child.pid == 0) {
        close(leave[1]);
        if (sandbox_enter(kind, &fixture->config, kind == IPC_PEER_PROBER ? "sql1" : "") ||
            write(entered[1], &byte, 1) != 1 || read(leave[0], &byte, 1) != 0)
            _exit(1);
        _exit(0);
    }
    close(entered[1]);
    close(leave[0]);
    child.entered = entered[0];
    child.leave = leave[1];
    assert_int_equal(read(child.entered, &byte, 1), 1);
    return child;
}

static void end(struct child *child)
{
    int status;

    cleanup_close(&child->leave);
    cleanup_close(&child->entered);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_int_equal(status, 0);
}

/* A line of a file of /proc that begins with these words, white space aside. */
static void assert_line(pid_t pid, const char *file, const char *begin)
{
    char path[64], line[256], words[256];
    bool is_found = false;
    FILE *lines;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    lines = fopen(path, "re");
    assert_non_null(lines);
    while (fgets(line, sizeof(line), lines)) {
        size_t used = 0;

        for (const char *c = line; *c; c++) {
            bool is_space = *c == ' ' || *c == '\t' || *c == '\n';

            if (!is_space || (used > 0 && words[used - 1] != ' '))
                words[used++] = (char)(is_space ? ' ' : *c);
        }
        words[used] = 0;
        is_found |= strncmp(words, begin, strlen(begin)) == 0;
    }
    fclose(lines);
    if (!is_found)
        fail_msg("%s has no line \"%s\"", path, begin);
}

static void test_process(void **state)
{
    const struct fixture *fixture = *state;

    for (int kind = IPC_PEER_KEEPER; kind <= IPC_PEER_PROBER; kind++) {
        struct child child = enter_and_wait((enum ipc_peer_kind)kind, fixture);
        char path[64], uids[64];
        struct stat status;

        assert_line(child.pid, "status", "NoNewPrivs: 1 ");
        assert_line(child.pid, "status", "Seccomp: 2 ");
        assert_line(child.pid, "limits", "Max core file size 0 0 ");
        /* The keeper has a thread, which counts; its calls allow no process. */
        if (kind != IPC_PEER_KEEPER)
            assert_line(child.pid, "limits", "Max processes 0 0 ");
        if (geteuid() == 0) {
            int uid = USER_BASE + kind - IPC_PEER_KEEPER;

            snprintf(uids, sizeof(uids), "Uid: %d %d %d %d ", uid, uid, uid, uid);
            assert_line(child.pid, "status", uids);
            uids[0] = 'G';
            assert_line(child.pid, "status", uids);
            assert_line(child.pid, "status", "Groups: ");
            assert_line(child.pid, "status", "CapEff: 0000000000000000 ");
            assert_line(child.pid, "status", "CapPrm: 0000000000000000 ");
        }
        /* Not dumpable: its files in /proc belong to root (proc(5)). */
        snprintf(path, sizeof(path), "/proc/%d/mem", child.pid);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_uid, 0);
        end(&child);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_attempts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_process, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
