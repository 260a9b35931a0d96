/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/plain/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int result_of(long value)
{
    return value < 0 ? errno : 0;
}

static pid_t pid_of(const char *argument)
{
    return (pid_t)strtol(argument, NULL, 10);
}

/* Says that it is inside, and stays until standard input ends: a sibling to be attacked. */
static int stay(const char *argument)
{
    char byte = 0;

    (void)argument;
    return write(STDOUT_FILENO, &byte, 1) == 1 && read(STDIN_FILENO, &byte, 1) == 0 ? 0 : EIO;
}

static int do_fork(const char *argument)
{
    (void)argument;
    return result_of(fork());
}

static int do_exec(const char *argument)
{
    char *const argv[] = {NULL};

    (void)argument;
    return result_of(execve("/bin/true", argv, argv));
}

/* What a thread tries, and what came of it. */
struct threaded {
    int (*attempt)(const char *argument);
    const char *argument;
    int result;
};

static void *run_thread(void *argument)
{
    struct threaded *threaded = argument;

    threaded->result = threaded->attempt(threaded->argument);
    return NULL;
}

static int try_in_thread(int (*attempt)(const char *argument), const char *argument)
{
    struct threaded threaded = {.attempt = attempt, .argument = argument};
    pthread_t id;
    int error = pthread_create(&id, NULL, run_thread, &threaded);

    if (!error)
        error = pthread_join(id, NULL);
    return error ? error : threaded.result;
}

static int nothing(const char *argument)
{
    (void)argument;
    return 0;
}

static int thread(const char *argument)
{
    return try_in_thread(nothing, argument);
}

static int open_file(const char *argument)
{
    return result_of(open(argument, O_RDONLY | O_CLOEXEC));
}

static int thread_read(const char *argument)
{
    return try_in_thread(open_file, argument);
}

static int thread_fork(const char *argument)
{
    return try_in_thread(do_fork, argument);
}

static int attach(const char *argument)
{
    return result_of(ptrace(PTRACE_SEIZE, pid_of(argument), NULL, NULL));
}

static int read_memory(const char *argument)
{
    char byte;
    struct iovec here = {.iov_base = &byte, .iov_len = 1}, there = here;

    return result_of(process_vm_readv(pid_of(argument), &here, 1, &there, 1, 0));
}

static int kill_it(const char *argument)
{
    return result_of(kill(pid_of(argument), SIGKILL));
}

/* The form that abort(3) needs. */
static int kill_thread(const char *argument)
{
    return result_of(syscall(SYS_tgkill, pid_of(argument), pid_of(argument), SIGKILL));
}

static int steal_fd(const char *argument)
{
    return result_of(syscall(SYS_pidfd_open, pid_of(argument), 0));
}

static int map_code(const char *argument)
{
    (void)argument;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : 0;
}

static int make_code(const char *argument)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)argument;
    return page == MAP_FAILED ? errno : result_of(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int become_dumpable(const char *argument)
{
    (void)argument;
    return result_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int raise_limit(const char *argument)
{
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};

    (void)argument;
    return result_of(setrlimit(RLIMIT_CORE, &none));
}

/* A system call by its number, that must be dead whatever its arguments are. */
static int call(const char *argument)
{
    return result_of(syscall(strtol(argument, NULL, 10), 0, 0, 0, 0, 0, 0));
}

#ifdef __x86_64__
#define X32_BIT 0x40000000L

static int call_x32(const char *argument)
{
    (void)argument;
    return result_of(syscall(X32_BIT | SYS_getpid));
}

/* getpid of the table of 32-bit programs. */
static int call_i386(const char *argument)
{
    long result;

    (void)argument;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    return result > 0 ? 0 : (int)-result;
}
#endif

const struct attempt process_attempts[] = {
    {"stay", stay},
    {"fork", do_fork},
    {"exec", do_exec},
    {"thread", thread},
    {"thread_read", thread_read},
    {"thread_fork", thread_fork},
    {"ptrace", attach},
    {"process_vm_readv", read_memory},
    {"kill", kill_it},
    {"tgkill", kill_thread},
    {"pidfd_open", steal_fd},
    {"map_code", map_code},
    {"make_code", make_code},
    {"dumpable", become_dumpable},
    {"limit", raise_limit},
    {"call", call},
#ifdef __x86_64__
    {"x32", call_x32},
    {"i386", call_i386},
#endif
};
const size_t process_attempt_count = ARRAY_LEN(process_attempts);

/* Whatever their arguments: the kernel's wide doors, dead in every role. */
const struct dead_call dead_calls[] = {
    {"acct", SYS_acct},
    {"add_key", SYS_add_key},
    {"bpf", SYS_bpf},
    {"capset", SYS_capset},
    {"chroot", SYS_chroot},
    {"clock_settime", SYS_clock_settime},
    {"clone", SYS_clone},
    {"delete_module", SYS_delete_module},
    {"execveat", SYS_execveat},
    {"fanotify_init", SYS_fanotify_init},
    {"fchmodat", SYS_fchmodat},
    {"fchownat", SYS_fchownat},
    {"finit_module", SYS_finit_module},
    {"fsopen", SYS_fsopen},
    {"init_module", SYS_init_module},
    {"inotify_init1", SYS_inotify_init1},
    {"io_setup", SYS_io_setup},
    {"io_uring_enter", SYS_io_uring_enter},
    {"io_uring_register", SYS_io_uring_register},
    {"io_uring_setup", SYS_io_uring_setup},
    {"ioctl", SYS_ioctl},
    {"kcmp", SYS_kcmp},
    {"kexec_load", SYS_kexec_load},
    {"keyctl", SYS_keyctl},
    {"landlock_create_ruleset", SYS_landlock_create_ruleset},
    {"linkat", SYS_linkat},
    {"mkdirat", SYS_mkdirat},
    {"mknodat", SYS_mknodat},
    {"mount", SYS_mount},
    {"move_mount", SYS_move_mount},
    {"mq_open", SYS_mq_open},
    {"msgget", SYS_msgget},
    {"name_to_handle_at", SYS_name_to_handle_at},
    {"open_by_handle_at", SYS_open_by_handle_at},
    {"open_tree", SYS_open_tree},
    {"perf_event_open", SYS_perf_event_open},
    {"personality", SYS_personality},
    {"pidfd_getfd", SYS_pidfd_getfd},
    {"pidfd_send_signal", SYS_pidfd_send_signal},
    {"pivot_root", SYS_pivot_root},
    {"pkey_alloc", SYS_pkey_alloc},
    {"process_vm_writev", SYS_process_vm_writev},
    {"quotactl", SYS_quotactl},
    {"reboot", SYS_reboot},
    {"request_key", SYS_request_key},
    {"sched_setscheduler", SYS_sched_setscheduler},
    {"seccomp", SYS_seccomp},
    {"semget", SYS_semget},
    {"setgroups", SYS_setgroups},
    {"sethostname", SYS_sethostname},
    {"setns", SYS_setns},
    {"setresuid", SYS_setresuid},
    {"settimeofday", SYS_settimeofday},
    {"setuid", SYS_setuid},
    {"setxattr", SYS_setxattr},
    {"shmget", SYS_shmget},
    {"splice", SYS_splice},
    {"swapon", SYS_swapon},
    {"symlinkat", SYS_symlinkat},
    {"syslog", SYS_syslog},
    {"tee", SYS_tee},
    {"truncate", SYS_truncate},
    {"umount2", SYS_umount2},
    {"unshare", SYS_unshare},
    {"userfaultfd", SYS_userfaultfd},
    {"utimensat", SYS_utimensat},
    {"vmsplice", SYS_vmsplice},
#ifdef __x86_64__
    {"chmod", SYS_chmod},
    {"chown", SYS_chown},
    {"ioperm", SYS_ioperm},
    {"iopl", SYS_iopl},
    {"link", SYS_link},
    {"mkdir", SYS_mkdir},
    {"mknod", SYS_mknod},
    {"rmdir", SYS_rmdir},
#endif
};
const size_t dead_call_count = ARRAY_LEN(dead_calls);
