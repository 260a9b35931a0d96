/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_child.h"
#include "client/agent_hook.h"
#include "client/agent_notify.h"
#include "libescrow/cleanup.h"

#include <event2/event.h>
#include <jansson.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct event_base *base;
    char folder[4096];
    char path[4200];
    int status;
    unsigned count;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *parent = getenv("TMPDIR");

    if (!fixture)
        return 1;
    snprintf(fixture->folder, sizeof(fixture->folder), "%s/escrow.XXXXXX",
             parent ? parent : "/tmp");
    fixture->base = event_base_new();
    fixture->status = -1;
    *state = fixture;
    return fixture->base && mkdtemp(fixture->folder) ? 0 : 1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    unlink(fixture->path);
    rmdir(fixture->folder);
    event_base_free(fixture->base);
    free(fixture);
    return 0;
}

static void path_in(struct fixture *fixture, const char *name)
{
    snprintf(fixture->path, sizeof(fixture->path), "%s/%s", fixture->folder, name);
}

static void write_script(struct fixture *fixture, const char *text)
{
    FILE *file;

    path_in(fixture, "script");
    file = fopen(fixture->path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(fixture->path, 0700), 0);
}

static void on_exit_of_child(int status, void *argument)
{
    struct fixture *fixture = argument;

    fixture->status = status;
    fixture->count++;
    event_base_loopbreak(fixture->base);
}

static struct agent_child_config shell(struct fixture *fixture, const char *const *argv)
{
    return (struct agent_child_config){.base = fixture->base,
                                       .path = "/bin/sh",
                                       .argv = argv,
                                       .stdin_fd = -1,
                                       .channel_fd = -1,
                                       .on_exit = on_exit_of_child,
                                       .argument = fixture};
}

static void test_child_reports_its_end(void **state)
{
    static const struct {
        const char *script;
        int status;
    } cases[] = {
        {"exit 0", 0},
        {"exit 3", 3 << 8},
        {"kill -9 $$", SIGKILL},
        /* Neither descriptors nor environment of the parent go on. */
        {"test -z \"$SECRET$(cat)\" && cd /proc/$$/fd && test -e 3 && test ! -e 8", 0},
    };
    struct fixture *fixture = *state;

    assert_int_equal(setenv("SECRET", "x", 1), 0);
    assert_int_equal(dup2(STDERR_FILENO, 8), 8);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *const argv[] = {"sh", "-c", cases[i].script, NULL};
        struct agent_child_config config = shell(fixture, argv);
        struct agent_child *child;

        assert_int_equal(agent_child_start(&config, &child), ESCROW_OK);
        event_base_dispatch(fixture->base);
        assert_int_equal(fixture->count, i + 1);
        assert_int_equal(fixture->status, cases[i].status);
    }
    close(8);
}

static void test_child_gets_its_channel(void **state)
{
    const char *const argv[] = {"sh", "-c", "printf x >&3", NULL};
    struct fixture *fixture = *state;
    struct agent_child_config config = shell(fixture, argv);
    struct agent_child *child;
    int fds[2];
    char byte;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    config.channel_fd = fds[1];
    assert_int_equal(agent_child_start(&config, &child), ESCROW_OK);
    close(fds[1]);
    event_base_dispatch(fixture->base);
    assert_int_equal(fixture->status, 0);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_int_equal(read(fds[0], &byte, 1), 0);
    close(fds[0]);
}

static void test_child_that_cannot_run(void **state)
{
    const char *const argv[] = {"nothing", NULL};
    struct fixture *fixture = *state;
    struct agent_child_config config = shell(fixture, argv);
    struct agent_child *child;
    char text[64];

    config.path = "/nonexistent";
    assert_int_equal(agent_child_start(&config, &child), ESCROW_OK);
    event_base_dispatch(fixture->base);
    assert_string_equal(agent_child_status_text(fixture->status, text, sizeof(text)),
                        "exit status 127");
}

static void test_child_is_stopped(void **state)
{
    const char *const argv[] = {"sleep", "600", NULL};
    struct fixture *fixture = *state;
    struct agent_child_config config = shell(fixture, argv);
    struct agent_child *child;
    char text[64];

    config.path = "/bin/sleep";
    assert_int_equal(agent_child_start(&config, &child), ESCROW_OK);
    agent_child_signal(child, SIGTERM);
    event_base_dispatch(fixture->base);
    assert_string_equal(agent_child_status_text(fixture->status, text, sizeof(text)),
                        "killed by signal 15 (Terminated)");
    /* And one that is freed while it runs: gone, and nobody is called. */
    assert_int_equal(agent_child_start(&config, &child), ESCROW_OK);
    agent_child_free(child);
    assert_int_equal(fixture->count, 1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void run_hook(struct fixture *fixture, int64_t timeout_ms)
{
    struct agent_hook hook = {.path = fixture->path, .timeout_ms = timeout_ms};
    struct agent_config config = {.hooks = &hook, .hook_count = 1};
    json_t *event = json_pack("{s:s}", "event", "promoted");
    struct agent_hooks *hooks;

    assert_int_equal(agent_hooks_new(fixture->base, &config, &hooks), ESCROW_OK);
    agent_hooks_run(hooks, event);
    event_base_dispatch(fixture->base);
    agent_hooks_free(hooks);
    json_decref(event);
}

static void test_hook_gets_the_event(void **state)
{
    struct fixture *fixture = *state;
    char text[64] = "", script[256];
    FILE *file;

    snprintf(script, sizeof(script), "#!/bin/sh\ncat >\"${0%%/*}/seen\"\n");
    write_script(fixture, script);
    run_hook(fixture, 10000);
    unlink(fixture->path);
    path_in(fixture, "seen");
    file = fopen(fixture->path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, "{\"event\":\"promoted\"}");
}

static void test_hook_that_hangs_is_killed(void **state)
{
    struct fixture *fixture = *state;

    write_script(fixture, "#!/bin/sh\nexec sleep 600\n");
    run_hook(fixture, 50); /* the loop ends because the hook did */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_hooks_end_with_the_agent(void **state)
{
    struct fixture *fixture = *state;
    struct agent_hook hook = {.path = fixture->path, .timeout_ms = 600000};
    struct agent_config config = {.hooks = &hook, .hook_count = 1};
    json_t *event = json_object();
    struct agent_hooks *hooks;

    write_script(fixture, "#!/bin/sh\nexec sleep 600\n");
    assert_int_equal(agent_hooks_new(fixture->base, &config, &hooks), ESCROW_OK);
    for (unsigned i = 0; i < 40; i++) /* more than may run at once: refused, not lost track of */
        agent_hooks_run(hooks, event);
    agent_hooks_free(hooks);
    json_decref(event);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void on_notify(void *argument)
{
    struct fixture *fixture = argument;

    fixture->count++;
    event_base_loopexit(fixture->base, NULL);
}

/* Sends from a child process, as user uid, while the listener's loop runs. */
static int notify_as(struct fixture *fixture, uid_t uid)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        if (uid != getuid() && setresuid(uid, uid, uid) != 0)
            _exit(99);
        _exit((int)agent_notify_send(fixture->path, 5000));
    }
    while (waitpid(pid, &status, WNOHANG) == 0)
        event_base_loop(fixture->base, EVLOOP_NONBLOCK);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_notify(void **state)
{
    struct fixture *fixture = *state;
    struct agent_notify *notify, *again;
    struct stat status;

    path_in(fixture, "notify.sock");
    assert_int_equal(agent_notify_send(fixture->path, 5000), ESCROW_ERR_UNAVAILABLE);
    assert_int_equal(agent_notify_new(fixture->base, fixture->path, on_notify, fixture, &notify),
                     ESCROW_OK);
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(notify_as(fixture, getuid()), ESCROW_OK);
    assert_int_equal(fixture->count, 1);
    /* What a killed agent left behind does not stop the next one. */
    assert_int_equal(agent_notify_new(fixture->base, fixture->path, on_notify, fixture, &again),
                     ESCROW_OK);
    agent_notify_free(again);
    agent_notify_free(notify);
    assert_int_equal(access(fixture->path, F_OK), -1);
}

static void test_notify_hears_no_stranger(void **state)
{
    struct fixture *fixture = *state;
    struct agent_notify *notify;

    if (getuid() != 0)
        skip(); /* nobody else to be */
    path_in(fixture, "notify.sock");
    assert_int_equal(agent_notify_new(fixture->base, fixture->path, on_notify, fixture, &notify),
                     ESCROW_OK);
    assert_int_equal(chmod(fixture->folder, 0755), 0);
    /* Even if somebody widens the mode of the socket. */
    assert_int_equal(chmod(fixture->path, 0666), 0);
    assert_int_equal(notify_as(fixture, 65534), ESCROW_ERR_DENIED);
    assert_int_equal(fixture->count, 0);
    agent_notify_free(notify);
}

static void test_notify_replaces_only_sockets(void **state)
{
    struct fixture *fixture = *state;
    struct agent_notify *notify;

    write_script(fixture, "precious");
    assert_int_equal(agent_notify_new(fixture->base, fixture->path, on_notify, fixture, &notify),
                     ESCROW_ERR_SYSTEM);
    assert_int_equal(access(fixture->path, F_OK), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_child_reports_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_child_gets_its_channel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_child_that_cannot_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_child_is_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hook_gets_the_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hook_that_hangs_is_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hooks_end_with_the_agent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_notify, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_notify_hears_no_stranger, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_notify_replaces_only_sockets, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
