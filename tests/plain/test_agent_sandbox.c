/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a prober and a worker of the agent cannot do even when they are taken over: each row is one
 * attempt in both, as released. The agent is one user, so what one instance's processes cannot have
 * of another one is Landlock's alone.
 */
#include "client/agent_harden.h"
#include "client/agent_role.h"
#include "libescrow/cleanup.h"
#include "libescrow/ipc.h"
#include "libescrow/log.h"
#include "libescrow/secret.h"
#include "tests/plain/attempts.h"
#include "tests/plain/role_process.h"
#include "tests/plain/row_test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define KILLED ROLE_KILLED
#define PATH_CAP 128
#define ARGUMENTS 12

enum role { PROBER, WORKER, ROLES };

/* What an attempt is made on. */
enum target {
    TARGET_NONE,
    TARGET_PASSWD,
    TARGET_PASSWORD,
    TARGET_OTHER_PASSWORD,
    TARGET_ACT_KEY,
    TARGET_OTHER_ACT_KEY,
    TARGET_CONFIG,
    TARGET_NEW,
    TARGET_STATE,
    TARGET_DEVICE,
    TARGET_INSTANCE_PORT,
    TARGET_ESCROWD_PORT,
    TARGET_OTHER_PORT,
    TARGET_SOCKET,
    TARGET_SIBLING,
    TARGET_SIBLING_MEMORY,
    TARGETS
};

static const struct {
    const char *name;
    const char *attempt;
    enum target target;
    int prober, worker;
} rows[] = {
    {"nothing at all", "nothing", TARGET_NONE, 0, 0},
    {"read /etc/passwd", "read", TARGET_PASSWD, EACCES, EACCES},
    {"read its password file", "read", TARGET_PASSWORD, EACCES, EACCES},
    {"read the password file of another instance", "read", TARGET_OTHER_PASSWORD, EACCES, EACCES},
    {"read its act key", "read", TARGET_ACT_KEY, EACCES, 0},
    {"write its act key", "write", TARGET_ACT_KEY, EACCES, EACCES},
    {"read the act key of another group of the instance", "read", TARGET_OTHER_ACT_KEY, EACCES,
     EACCES},
    {"read the configuration", "read", TARGET_CONFIG, EACCES, EACCES},
    {"create a file", "create", TARGET_NEW, EACCES, EACCES},
    {"write the state", "write", TARGET_STATE, EACCES, 0},
    {"open a device", "read", TARGET_DEVICE, EACCES, EACCES},
    {"connect to the instance", "connect", TARGET_INSTANCE_PORT, 0, 0},
    {"connect to an escrowd", "connect", TARGET_ESCROWD_PORT, EACCES, 0},
    {"connect to another port", "connect", TARGET_OTHER_PORT, EACCES, EACCES},
    {"bind", "bind", TARGET_NONE, KILLED, KILLED},
    {"listen", "listen", TARGET_NONE, KILLED, KILLED},
    {"connect to a Unix socket", "connect_unix", TARGET_SOCKET, EACCES, EACCES},
    {"open a netlink socket", "netlink", TARGET_NONE, EACCES, EACCES},
    {"open a packet socket", "packet", TARGET_NONE, KILLED, KILLED},
    {"open a socket of a virtual machine", "vsock", TARGET_NONE, KILLED, KILLED},
    {"fork", "fork", TARGET_NONE, KILLED, KILLED},
    {"exec", "exec", TARGET_NONE, KILLED, KILLED},
    /* libcurl looks names up in one */
    {"start a thread", "thread", TARGET_NONE, KILLED, 0},
    {"read /etc/passwd in a thread", "thread_read", TARGET_PASSWD, KILLED, EACCES},
    {"trace a sibling", "ptrace", TARGET_SIBLING, KILLED, KILLED},
    {"read a sibling's memory", "process_vm_readv", TARGET_SIBLING, KILLED, KILLED},
    {"open a sibling's memory", "read", TARGET_SIBLING_MEMORY, EACCES, EACCES},
    {"kill a sibling", "kill", TARGET_SIBLING, KILLED, KILLED},
    {"kill a sibling's thread", "tgkill", TARGET_SIBLING, EPERM, EPERM},
    {"hold a sibling", "pidfd_open", TARGET_SIBLING, KILLED, KILLED},
    {"map code", "map_code", TARGET_NONE, KILLED, KILLED},
    {"make code of data", "make_code", TARGET_NONE, KILLED, KILLED},
    {"become dumpable", "dumpable", TARGET_NONE, KILLED, EACCES},
    {"have signals sent by a descriptor", "own_fd", TARGET_NONE, KILLED, KILLED},
    {"raise a limit", "limit", TARGET_NONE, KILLED, KILLED},
};

struct fixture {
    char folder[64], texts[TARGETS][PATH_CAP];
    int ports[3], socket_fd, channel[2];
};

static void put(const struct fixture *fixture, const char *name, const char *text, char *ret_path)
{
    FILE *file;

    snprintf(ret_path, PATH_CAP, "%s/%s", fixture->folder, name);
    file = fopen(ret_path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(ret_path, 0600), 0);
}

static int listen_on(char text[static PATH_CAP])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(text, PATH_CAP, "%u", ntohs(address.sin_port));
    return fd;
}

static int listen_unix(struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", fixture->folder);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 64), 0);
    snprintf(fixture->texts[TARGET_SOCKET], PATH_CAP, "%s", address.sun_path);
    return fd;
}

static const char config_text[] = "escrowds:\n"
                                  "  - address: 127.0.0.1\n"
                                  "    port: %2$s\n"
                                  "    server_id: spiffe://test/escrowd/a\n"
                                  "    ca_file: %1$s/ca\n"
                                  "authority_file: %1$s/authority\n"
                                  "state_file: %1$s/state/roster\n"
                                  "notify_socket: %1$s/notify\n"
                                  "instances:\n"
                                  "  - name: sql1\n"
                                  "    group: group\n"
                                  "    certificate_file: %1$s/certificate\n"
                                  "    key_file: %1$s/key\n"
                                  "    act_key_file: %1$s/act\n"
                                  "    address: 127.0.0.1\n"
                                  "    port: %3$s\n"
                                  "    tls_name: sql1.test\n"
                                  "    ca_file: %1$s/ca\n"
                                  "    login: agent\n"
                                  "    password_file: %1$s/password\n"
                                  "    availability_group: AG\n"
                                  "    databases: [SSISDB]\n"
                                  "  - name: sql1\n"
                                  "    group: other\n"
                                  "    certificate_file: %1$s/certificate\n"
                                  "    key_file: %1$s/key\n"
                                  "    act_key_file: %1$s/act.other\n"
                                  "    address: 127.0.0.1\n"
                                  "    port: %3$s\n"
                                  "    tls_name: sql1.test\n"
                                  "    ca_file: %1$s/ca\n"
                                  "    login: agent\n"
                                  "    password_file: %1$s/password\n"
                                  "    availability_group: other\n"
                                  "    databases: [other]\n";

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *parent = getenv("TMPDIR");
    char path[PATH_CAP], text[4096];

    if (!fixture)
        return -1;
    *state = fixture;
    snprintf(fixture->folder, sizeof(fixture->folder), "%s/sandbox.XXXXXX",
             parent ? parent : "/tmp");
    if (!mkdtemp(fixture->folder))
        return -1;
    snprintf(path, sizeof(path), "%s/state", fixture->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    put(fixture, "ca", "x", path);
    put(fixture, "password", "x", fixture->texts[TARGET_PASSWORD]);
    put(fixture, "password.other", "x", fixture->texts[TARGET_OTHER_PASSWORD]);
    put(fixture, "act", "x", fixture->texts[TARGET_ACT_KEY]);
    put(fixture, "act.other", "x", fixture->texts[TARGET_OTHER_ACT_KEY]);
    put(fixture, "state/roster", "x", fixture->texts[TARGET_STATE]);
    fixture->ports[0] = listen_on(fixture->texts[TARGET_INSTANCE_PORT]);
    fixture->ports[1] = listen_on(fixture->texts[TARGET_ESCROWD_PORT]);
    fixture->ports[2] = listen_on(fixture->texts[TARGET_OTHER_PORT]);
    fixture->socket_fd = listen_unix(fixture);
    assert_int_equal(ipc_pair(fixture->channel), ESCROW_OK);
    snprintf(text, sizeof(text), config_text, fixture->folder, fixture->texts[TARGET_ESCROWD_PORT],
             fixture->texts[TARGET_INSTANCE_PORT]);
    put(fixture, "agent.yaml", text, fixture->texts[TARGET_CONFIG]);
    snprintf(fixture->texts[TARGET_PASSWD], PATH_CAP, "/etc/passwd");
    snprintf(fixture->texts[TARGET_NEW], PATH_CAP, "%s/new", fixture->folder);
    snprintf(fixture->texts[TARGET_DEVICE], PATH_CAP, "/dev/zero");
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"state/roster", "state",          "ca",
                                        "password",     "password.other", "act",
                                        "act.other",    "socket",         "agent.yaml"};
    struct fixture *fixture = *state;
    char path[PATH_CAP];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", fixture->folder, names[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(rmdir(fixture->folder), 0);
    for (size_t i = 0; i < ARRAY_LEN(fixture->ports); i++)
        close(fixture->ports[i]);
    close(fixture->socket_fd);
    cleanup_close(&fixture->channel[0]);
    cleanup_close(&fixture->channel[1]);
    free(fixture);
    return 0;
}

static struct role_process role_of(const struct fixture *fixture, enum role role,
                                   const char *argv[static ARGUMENTS])
{
    const char *words[ARGUMENTS] = {"escrow-agent",
                                    "--role",
                                    role == PROBER ? "prober" : "worker",
                                    "--config",
                                    fixture->texts[TARGET_CONFIG],
                                    "--instance",
                                    "sql1",
                                    "--group",
                                    "group",
                                    "--database",
                                    "SSISDB",
                                    NULL};

    memcpy(argv, words, sizeof(words));
    return (struct role_process){
        .argv = argv, .fds = {fixture->channel[1], -1, -1, -1, -1}, .attempt = "nothing"};
}

static void assert_outcome(const struct fixture *fixture, enum role kind, const char *attempt,
                           const char *argument, int wanted)
{
    const char *argv[ARGUMENTS];
    struct role_process role = role_of(fixture, kind, argv);
    char text[4096];
    int got;

    role.attempt = attempt;
    role.argument = argument;
    got = role_process_run(&role, text, sizeof(text));
    if (got != wanted)
        fail_msg("%s: %d, expected %d: %s", argv[2], got, wanted, text);
}

static void test_row(void **state)
{
    const struct row_state *row = *state;
    struct fixture *fixture = row->fixture;
    const int wanted[] = {rows[row->index].prober, rows[row->index].worker};
    enum target target = rows[row->index].target;
    bool has_sibling = target == TARGET_SIBLING || target == TARGET_SIBLING_MEMORY;

    if (role_process_landlock() < 6)
        skip(); /* this kernel lacks a part, and the roles say so */
    for (int kind = PROBER; kind < ROLES; kind++) {
        const char *argv[ARGUMENTS];
        const struct role_process role = role_of(fixture, (enum role)kind, argv);
        struct role_sibling sibling = {.hold = -1};

        if (has_sibling) {
            sibling = role_sibling_start(&role);
            snprintf(fixture->texts[TARGET_SIBLING], PATH_CAP, "%d", sibling.pid);
            snprintf(fixture->texts[TARGET_SIBLING_MEMORY], PATH_CAP, "/proc/%d/mem", sibling.pid);
        }
        assert_outcome(fixture, (enum role)kind, rows[row->index].attempt, fixture->texts[target],
                       wanted[kind]);
        if (has_sibling)
            role_sibling_end(&sibling);
    }
}

static void test_dead_call(void **state)
{
    const struct row_state *row = *state;
    char number[24];

    snprintf(number, sizeof(number), "%ld", dead_calls[row->index].number);
    for (int kind = PROBER; kind < ROLES; kind++)
        assert_outcome(row->fixture, (enum role)kind, "call", number, KILLED);
}

static void test_seen_from_outside(void **state)
{
    const struct row_state *row = *state;

    for (int kind = PROBER; kind < ROLES; kind++) {
        const char *argv[ARGUMENTS];
        const struct role_process role = role_of(row->fixture, (enum role)kind, argv);
        struct role_sibling sibling = role_sibling_start(&role);

        role_sibling_check(&sibling, kind == WORKER);
        role_sibling_end(&sibling);
    }
}

/* As agent_main.c starts a role. */
static enum escrow_err run_role(char **argv)
{
    const struct agent_role_arguments arguments = {
        .role = argv[2],
        .config_path = argv[4],
        .instance = argv[6],
        .group = argv[8],
        .database = argv[10],
    };
    enum escrow_err err = agent_harden();

    log_init(argv[2], LOG_LEVEL_INFO);
    if (!err)
        err = secret_heap_init();
    return err ? err : agent_role_run(&arguments);
}

int main(int argc, char **argv)
{
    if (argc == ARGUMENTS - 1)
        return escrow_err_exit_code(run_role(argv));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        row_test_add(test_row, i, "prober and worker: %s", rows[i].name);
    for (size_t i = 0; i < dead_call_count; i++)
        row_test_add(test_dead_call, i, "kills prober and worker: %s", dead_calls[i].name);
    row_test_add(test_seen_from_outside, 0, "the kernel says what is on");
    return row_test_run(setup, teardown);
}
