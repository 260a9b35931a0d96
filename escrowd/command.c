/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/command.h"

#include "libescrow/cleanup.h"
#include "libescrow/fork.h"
#include "libescrow/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512 /* of output; a longer line is logged in pieces */
#define READS_MAX 16
#define FIRST_FREE_FD 3
/* A killed process ends at once, unless the kernel holds it: a disk or network file that hangs. */
#define REAP_MS 1000
#define ORPHAN_ROUNDS 16

struct command {
    struct command_config config;
    pid_t pid; /* and its process group; 0: it does not run */
    int pidfd, output_fd;
    struct event *ended, *output, *deadline;
    char line[LINE_MAX_BYTES + 1];
    size_t line_len;
    unsigned lines;
    bool is_late;
};

/* ---- whether it may be run ---- */

/* A sticky folder (/tmp) lets nobody else replace what is in it. */
static bool is_safe(const struct stat *status)
{
    bool is_owned = status->st_uid == 0 || status->st_uid == geteuid();
    bool is_sticky_folder = S_ISDIR(status->st_mode) && (status->st_mode & S_ISVTX);

    return (is_owned || is_sticky_folder) &&
           (!(status->st_mode & (S_IWGRP | S_IWOTH)) || is_sticky_folder);
}

static enum escrow_err check_folders(const char *path)
{
    char folder[PATH_MAX];
    struct stat status;
    char *slash;

    snprintf(folder, sizeof(folder), "%s", path);
    while ((slash = strrchr(folder, '/')) != NULL) {
        slash[slash == folder] = '\0';
        if (stat(folder, &status) < 0 || !is_safe(&status)) {
            log_error("command %s: others than root can change the folder %s", path, folder);
            return ESCROW_ERR_CONFIG;
        }
        if (slash == folder)
            break;
    }
    return ESCROW_OK;
}

enum escrow_err command_check(const char *path, bool is_to_run)
{
    struct stat status;

    if (stat(path, &status) < 0) {
        log_error("command %s: %s", path, strerror(errno));
        return ESCROW_ERR_CONFIG;
    }
    if (!S_ISREG(status.st_mode) || !(status.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH))) {
        log_error("command %s: it is not an executable file", path);
        return ESCROW_ERR_CONFIG;
    }
    if (!is_safe(&status)) {
        log_error("command %s: others than root can change it (owner %u, mode %04o)", path,
                  status.st_uid, status.st_mode & 07777);
        return ESCROW_ERR_CONFIG;
    }
    if (is_to_run && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
        log_error("command %s: user %u may not execute it: %s", path, geteuid(), strerror(errno));
        return ESCROW_ERR_CONFIG;
    }
    return check_folders(path);
}

/* ---- what it says ---- */

static void log_line(struct command *command)
{
    command->line[command->line_len] = '\0';
    command->line_len = 0;
    if (command->lines++ < COMMAND_LINES_MAX)
        log_notice("%s: %s", command->config.path, command->line);
}

static void take_output(struct command *command)
{
    char bytes[4096];
    ssize_t len = 1;

    /* Not for ever: it may write without end. */
    for (int reads = 0; reads < READS_MAX && len > 0; reads++) {
        len = read(command->output_fd, bytes, sizeof(bytes));
        for (ssize_t i = 0; i < len; i++) {
            if (bytes[i] != '\n')
                command->line[command->line_len++] = bytes[i];
            if (bytes[i] == '\n' || command->line_len == LINE_MAX_BYTES)
                log_line(command);
        }
    }
    /* Nobody has the other end any more, or it failed: there is nothing more to wait for. */
    if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR))
        event_del(command->output);
}

static void on_output(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    take_output(argument);
}

static void end_output(struct command *command)
{
    take_output(command);
    if (command->line_len > 0)
        log_line(command);
    if (command->lines > COMMAND_LINES_MAX)
        log_notice("%s: %u lines more were left out", command->config.path,
                   command->lines - COMMAND_LINES_MAX);
}

/* ---- its end ---- */

static void kill_group(const struct command *command)
{
    /* Not reaped yet, so the number is still its own. */
    if (kill(-command->pid, SIGKILL) < 0)
        kill(command->pid, SIGKILL);
}

/* Whether this process is the parent of that one; false where nothing is known of it any more. */
static bool is_child(const char *pid)
{
    CLEANUP(cleanup_close) int fd = -1;
    char path[64], text[512];
    const char *name_end;
    ssize_t len;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (len <= 0)
        return false;
    text[len] = '\0';
    /* "PID (NAME) STATE PARENT": the name may hold anything. */
    name_end = strrchr(text, ')');
    return name_end && strlen(name_end) > strlen(") S ") &&
           strtol(name_end + strlen(") S "), NULL, 10) == getpid();
}

/* Its number is its own until it is reaped; what it leaves is this process's then. False: it does
 * not end. */
static bool kill_child(pid_t pid)
{
    CLEANUP(cleanup_close) int pidfd = pidfd_open(pid, 0);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};

    kill(pid, SIGKILL);
    if (pidfd >= 0 && poll(&ended, 1, REAP_MS) == 1 && waitpid(pid, NULL, WNOHANG) == pid)
        return true;
    log_error("process %d, which a command left behind, was killed and does not end", (int)pid);
    return false;
}

/* True: there was one, and there may be others now. */
static bool kill_children(void)
{
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    bool is_killed = true, is_found = false;

    while (folder && is_killed && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !is_child(entry->d_name))
            continue;
        is_found = true;
        is_killed = kill_child((pid_t)strtol(entry->d_name, NULL, 10));
    }
    if (folder)
        closedir(folder);
    return is_found && is_killed;
}

enum escrow_err command_adopt(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? ESCROW_OK : ESCROW_ERR_SYSTEM;
}

/* The children of what is killed come next; one that forks faster than that is given up. */
static void kill_what_is_left(void)
{
    int adopts = 0;

    if (prctl(PR_GET_CHILD_SUBREAPER, &adopts) != 0 || !adopts)
        return;
    for (int round = 0; round < ORPHAN_ROUNDS && kill_children(); round++)
        continue;
}

static void discard(struct command *command)
{
    struct event *const events[] = {command->ended, command->output, command->deadline};

    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (events[i])
            event_free(events[i]);
    }
    cleanup_close(&command->pidfd);
    cleanup_close(&command->output_fd);
    free(command);
}

static void on_ended(evutil_socket_t fd, short what, void *argument)
{
    struct command *command = argument;
    struct command_result result = {.outcome = COMMAND_TIMED_OUT};
    struct command_config config = command->config;
    siginfo_t info = {0};

    (void)fd;
    (void)what;
    if (waitid(P_PID, (id_t)command->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid != command->pid)
        return;
    kill_group(command);
    waitpid(command->pid, NULL, 0);
    kill_what_is_left();
    end_output(command);
    if (!command->is_late)
        result = (struct command_result){
            info.si_code == CLD_EXITED ? COMMAND_EXITED : COMMAND_KILLED, (unsigned)info.si_status};
    discard(command);
    config.on_end(&result, config.argument);
}

static void on_deadline(evutil_socket_t fd, short what, void *argument)
{
    struct command *command = argument;

    (void)fd;
    (void)what;
    command->is_late = true;
    kill_group(command);
}

void command_free(struct command *command)
{
    struct pollfd ended;

    if (!command)
        return;
    kill_group(command);
    ended = (struct pollfd){.fd = command->pidfd, .events = POLLIN};
    if (command->pidfd < 0 || poll(&ended, 1, REAP_MS) == 1)
        waitpid(command->pid, NULL, 0);
    else
        log_error("command %s was killed and does not end: it is left behind",
                  command->config.path);
    kill_what_is_left();
    discard(command);
}

/* ---- its start ---- */

/* Between fork and exec, so async-signal-safe functions only (signal-safety(7)). */
static _Noreturn void become(const struct command *command, int input_fd, int output_fd)
{
    static const char *const environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
        NULL};
    static const char failure[] = "it cannot be executed\n";
    const char *const argv[] = {command->config.path, NULL};

    if (setpgid(0, 0) != 0 || chdir("/") != 0)
        _exit(FORK_EXIT_FAILED);
    umask(077);
    /* Both are above standard error: close_range leaves no other one. */
    if (dup2(input_fd, STDIN_FILENO) < 0 || dup2(output_fd, STDOUT_FILENO) < 0 ||
        dup2(output_fd, STDERR_FILENO) < 0 || close_range(FIRST_FREE_FD, ~0U, 0) != 0)
        _exit(FORK_EXIT_FAILED);
    execve(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment);
    (void)!write(STDERR_FILENO, failure, sizeof(failure) - 1);
    _exit(FORK_EXIT_FAILED);
}

static enum escrow_err write_input(const char *text, int *ret_fd)
{
    size_t len = strlen(text);
    CLEANUP(cleanup_close) int out = -1;
    int fds[2];

    if (len > COMMAND_TEXT_MAX || pipe2(fds, O_CLOEXEC) < 0)
        return ESCROW_ERR_SYSTEM;
    out = fds[1];
    /* An empty pipe has room for a page and more: neither waits. */
    if (write(out, text, len) == (ssize_t)len && write(out, "\n", 1) == 1) {
        *ret_fd = fds[0];
        return ESCROW_OK;
    }
    close(fds[0]);
    return ESCROW_ERR_SYSTEM;
}

static enum escrow_err watch(struct command *command)
{
    const struct command_config *config = &command->config;
    const struct timeval limit = {.tv_sec = config->timeout_ms / 1000,
                                  .tv_usec = (config->timeout_ms % 1000) * 1000};

    command->pidfd = pidfd_open(command->pid, 0);
    if (command->pidfd < 0)
        return ESCROW_ERR_SYSTEM;
    command->ended =
        event_new(config->base, command->pidfd, EV_READ | EV_PERSIST, on_ended, command);
    command->output =
        event_new(config->base, command->output_fd, EV_READ | EV_PERSIST, on_output, command);
    command->deadline = evtimer_new(config->base, on_deadline, command);
    if (command->ended && command->output && command->deadline &&
        event_add(command->ended, NULL) == 0 && event_add(command->output, NULL) == 0 &&
        event_add(command->deadline, &limit) == 0)
        return ESCROW_OK;
    return ESCROW_ERR_NO_MEMORY;
}

static enum escrow_err run(struct command *command, const char *text)
{
    CLEANUP(cleanup_close) int input_fd = -1;
    CLEANUP(cleanup_close) int output_fd = -1;
    enum escrow_err err = write_input(text, &input_fd);
    int fds[2];

    if (err)
        return err;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return ESCROW_ERR_SYSTEM;
    command->output_fd = fds[0];
    output_fd = fds[1];
    /* The program writes as programs do: only our end does not wait. */
    if (fcntl(output_fd, F_SETFL, 0) < 0)
        return ESCROW_ERR_SYSTEM;
    command->pid = fork_child();
    if (command->pid == 0)
        become(command, input_fd, output_fd);
    if (command->pid < 0)
        return ESCROW_ERR_SYSTEM;
    /* In both processes, so that the group is there for whoever needs it first. */
    setpgid(command->pid, command->pid);
    return watch(command);
}

enum escrow_err command_start(const struct command_config *config, const char *text,
                              struct command **ret_command)
{
    struct command *command;
    enum escrow_err err = command_check(config->path, true);

    if (err)
        return err;
    command = calloc(1, sizeof(*command));
    if (!command)
        return ESCROW_ERR_NO_MEMORY;
    *command = (struct command){.config = *config, .pidfd = -1, .output_fd = -1};
    err = run(command, text);
    if (!err) {
        *ret_command = command;
        return ESCROW_OK;
    }
    log_error("command %s cannot be started: %s", config->path, strerror(errno));
    if (command->pid > 0)
        command_free(command);
    else
        discard(command);
    return err;
}
