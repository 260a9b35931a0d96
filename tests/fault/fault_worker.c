/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/fault_worker.h"

#include "client/worker.h"
#include "libescrow/cleanup.h"
#include "libescrow/json.h"
#include "tests/fault/fault_escrowd.h"
#include "tests/unit/certificates.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVER "spiffe://corp.example/escrowd/e1"
#define TLS_NAME "sql1.test.invalid"
#define LOGIN_PASSWORD "login-of-the-agent"
#define GRACE_MS 2000 /* as the agent's parent gives it, before it kills */
/* A loaded machine; one that hangs takes for ever. */
#define SLACK_MS 2000
#define LIMIT_MS (FAULT_WORKER_DEADLINE_MS + GRACE_MS + SLACK_MS)
#define LOG_MAX ((size_t)1 << 20)

static const char *const files[] = {"ca",  "server",    "agent",    "sql",   "key",
                                    "act", "authority", "password", "state", "control"};
static const char *const databases[] = {"SSISDB"};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- SQL Server ---- */

static json_t *sqlsim_config(void)
{
    return json_pack("{s:s, s:{s:s, s:[s]}, s:[{s:s, s:s, s:s}],"
                     " s:[{s:s, s:s, s:[s, s, s, s]}]}",
                     "control", "control", "database", "name", databases[0], "master_key_passwords",
                     FAULT_PASSWORD, "instances", "name", "SQL1", "certificate", "sql", "key",
                     "key", "logins", "name", "agent", "password", LOGIN_PASSWORD, "rights",
                     "VIEW SERVER STATE", "VIEW ANY DEFINITION", "CONTROL",
                     "CONTROL ON CERTIFICATE");
}

/* Its configuration on standard input, so that no file holds the passwords; its first line. */
static void start_sqlsim(struct fault_worker *world)
{
    CLEANUP(json_free_p) json_t *config = sqlsim_config();
    CLEANUP(json_free_p) json_t *ready = NULL;
    CLEANUP(cleanup_free) char *text = json_text(config);
    CLEANUP(cleanup_free) char *line = NULL;
    int in[2], out[2];
    size_t cap = 0;
    FILE *answer;

    assert_non_null(text);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    world->sqlsim = fork();
    if (world->sqlsim == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        closefrom(STDERR_FILENO + 1);
        execl(FAULT_SQLSIM, "sqlsim", "-", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    assert_int_equal(write(in[1], text, strlen(text)), (ssize_t)strlen(text));
    close(in[1]);
    answer = fdopen(out[0], "r");
    assert_true(getline(&line, &cap, answer) > 0);
    fclose(answer);
    ready = json_loads(line, 0, NULL);
    world->instance.port =
        json_integer_value(json_object_get(json_object_get(ready, "ports"), "SQL1"));
    assert_int_not_equal(world->instance.port, 0);
}

/* The answer to a command (its words as a JSON list), owned by the caller. */
static json_t *steer(const char *command)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "control"};
    CLEANUP(cleanup_free) char *line = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FILE *control;
    json_t *answer;
    size_t cap = 0;

    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, command, strlen(command)), (ssize_t)strlen(command));
    control = fdopen(fd, "r");
    assert_true(getline(&line, &cap, control) > 0);
    fclose(control);
    answer = json_loads(line, 0, NULL);
    assert_true(json_is_true(json_object_get(answer, "ok")));
    return answer;
}

static bool does_open(void)
{
    CLEANUP(json_free_p) json_t *state = steer("[\"state\"]\n");

    assert_int_equal(json_array_size(json_object_get(state, "unknown")), 0);
    return json_array_size(json_object_get(state, "opens_on")) == 1;
}

void fault_worker_expect_statement(const char *text)
{
    char command[200];

    snprintf(command, sizeof(command),
             "[\"wait\",\"statement\",\"SQL1\",\"%s\",\"1\",\"--timeout\",\"1\"]\n", text);
    json_decref(steer(command));
}

/* ---- the world ---- */

static void make_certificates(void)
{
    static const struct leaf server_leaf = {.san = "URI:" SERVER, .eku = "serverAuth"};
    static const struct leaf agent_leaf = {.san = "URI:" FIXTURE_AGENT, .eku = "clientAuth"};
    static const struct leaf sql_leaf = {.san = "DNS:" TLS_NAME, .eku = "serverAuth"};
    const struct leaf *const leaves[] = {&server_leaf, &agent_leaf, &sql_leaf};
    struct authority authority = authority_new("authority");
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();

    assert_int_equal(key_write_private(key, "key"), ESCROW_OK);
    write_certificate("ca", authority.certificate);
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        X509 *certificate = certificate_new(&authority, key, leaves[i]);

        write_certificate(files[1 + i], certificate);
        X509_free(certificate);
    }
    authority_deinit(&authority);
}

static void make_files(const struct fault_worker *world)
{
    FILE *password = fopen("password", "we");

    make_certificates();
    assert_int_equal(key_write_private(world->fixture->agent, "act"), ESCROW_OK);
    assert_int_equal(key_write_public(world->fixture->authority, "authority"), ESCROW_OK);
    fputs(LOGIN_PASSWORD "\n", password);
    assert_int_equal(fchmod(fileno(password), 0600), 0);
    fclose(password);
}

static void configure(struct fault_worker *world)
{
    world->server = (struct rpc_server){
        .address = "127.0.0.1", .port = world->escrowd.port, .server_id = SERVER, .ca_file = "ca"};
    world->instance = (struct agent_instance){.name = FIXTURE_INSTANCE,
                                              .group = FIXTURE_GROUP,
                                              .certificate_file = "agent",
                                              .key_file = "key",
                                              .act_key_file = "act",
                                              .address = "127.0.0.1",
                                              .port = world->instance.port,
                                              .tls_name = TLS_NAME,
                                              .ca_file = "ca",
                                              .login = "agent",
                                              .password_file = "password",
                                              .login_timeout_ms = 1000,
                                              .query_timeout_ms = 1000,
                                              .availability_group = "AG1",
                                              .databases = databases,
                                              .database_count = 1};
    world->config = (struct agent_config){.escrowds = &world->server,
                                          .escrowd_count = 1,
                                          .authority_file = "authority",
                                          .state_file = "state",
                                          .worker_deadline_ms = FAULT_WORKER_DEADLINE_MS,
                                          .instances = &world->instance,
                                          .instance_count = 1};
    world->task = (struct worker_task){
        .config = &world->config, .instance = &world->instance, .database = databases[0]};
}

void fault_worker_start(struct fault_worker *world)
{
    static const struct tls_config tls = {.ca_file = "ca", .certificate = "server", .key = "key"};
    const struct https_server_config escrowd = {
        .tls = &tls, .handler = fault_escrowd_answer, .argument = world};
    const char *base = getenv("TMPDIR");

    *world = (struct fault_worker){0};
    assert_int_equal(fixture_setup((void **)&world->fixture), 0);
    world->heard = mmap(NULL, sizeof(*world->heard), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(world->heard, MAP_FAILED);
    snprintf(world->folder, sizeof(world->folder), "%.150s/worker.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(chdir(world->folder), 0);
    make_files(world);
    fault_escrowd_deposit(world);
    https_server_start(&escrowd, &world->escrowd);
    start_sqlsim(world);
    configure(world);
}

void fault_worker_stop(struct fault_worker *world)
{
    https_server_stop(&world->escrowd);
    kill(world->sqlsim, SIGTERM);
    waitpid(world->sqlsim, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(world->folder), 0);
    secret_free(world->sensitive);
    munmap(world->heard, sizeof(*world->heard));
    fixture_teardown((void **)&world->fixture);
}

/* ---- one worker ---- */

struct end {
    bool has_result;
    struct worker_result result;
    bool has_password; /* in its messages or its log */
    bool is_killed;    /* it did not end by itself */
    int status;
    int64_t took_ms;
    char *log; /* owned */
};

static bool holds_password(const void *bytes, size_t len)
{
    char utf16[2 * sizeof(FAULT_PASSWORD)];

    for (size_t i = 0; i < sizeof(FAULT_PASSWORD) - 1; i++) {
        utf16[2 * i] = FAULT_PASSWORD[i];
        utf16[2 * i + 1] = '\0';
    }
    return memmem(bytes, len, FAULT_PASSWORD, sizeof(FAULT_PASSWORD) - 1) ||
           memmem(bytes, len, utf16, 2 * (sizeof(FAULT_PASSWORD) - 1));
}

static _Noreturn void become_worker(const struct fault_worker *world, int channel, int log)
{
    struct worker_task task = world->task;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log, STDERR_FILENO);
    task.channel_fd = channel;
    inject_here();
    /* What a worker leaves to its end, such as the driver's own memory, is not looked at. */
    _exit(escrow_err_exit_code(worker_attempt(&task)));
}

/* As the agent's parent: says go and hears what comes, until the channel closes. */
static void attend(int channel, struct end *end, int64_t until_ms)
{
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = ipc_buffer_new();
    enum escrow_err err = ipc_send(channel, WORKER_MESSAGE_GO, 0, NULL, GRACE_MS);
    struct ipc_message message;

    while (now_ms() < until_ms) {
        err = ipc_receive(channel, buffer, (int)(until_ms - now_ms()) + 1, &message);
        if (err)
            break;
        end->has_password |= holds_password(message.payload, message.len);
        if (message.type == WORKER_MESSAGE_RESULT) {
            assert_int_equal(worker_get_result(&message, &end->result), ESCROW_OK);
            end->has_result = true;
        }
    }
    assert_int_not_equal(err, ESCROW_ERR_MALFORMED);
}

static void read_log(int log, struct end *end)
{
    ssize_t len;

    end->log = calloc(1, LOG_MAX + 1);
    assert_non_null(end->log);
    len = pread(log, end->log, LOG_MAX, 0);
    assert_true(len >= 0);
    end->has_password |= holds_password(end->log, (size_t)len);
}

static struct end run_worker(const struct fault_worker *world)
{
    int64_t start_ms = now_ms();
    int log = memfd_create("log", MFD_CLOEXEC), fds[2];
    struct pollfd ended = {.events = POLLIN};
    struct end end = {0};
    pid_t pid;

    assert_true(log >= 0);
    assert_int_equal(ipc_pair(fds), ESCROW_OK);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        become_worker(world, fds[1], log);
    close(fds[1]);
    attend(fds[0], &end, start_ms + LIMIT_MS);
    close(fds[0]);
    ended.fd = pidfd_open(pid, 0);
    assert_true(ended.fd >= 0);
    end.is_killed = poll(&ended, 1, (int)(start_ms + LIMIT_MS - now_ms())) != 1;
    close(ended.fd);
    end.took_ms = now_ms() - start_ms;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &end.status, 0), pid);
    read_log(log, &end);
    close(log);
    return end;
}

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s: not so: %s (status %d, outcome %s, '%s'); its log:\n%s", world->what,    \
                     #condition, end->status, worker_outcome_name(end->result.outcome),            \
                     end->result.text, end->log);                                                  \
    } while (0)

static void judge(const struct fault_worker *world, const struct end *end, bool opens)
{
    const struct fault_heard *heard = world->heard;
    const struct worker_result *result = &end->result;
    bool is_success = result->outcome == WORKER_OPENED || result->outcome == WORKER_ALREADY_OPEN;

    /* One that does not hear the go has no deadline of its own yet, but the parent's. */
    HOLDS(!end->is_killed || strstr(end->log, "waits until it is needed"));
    HOLDS(!strstr(end->log, "Sanitizer") && !strstr(end->log, "runtime error:"));
    HOLDS(WIFEXITED(end->status) || WTERMSIG(end->status) == SIGALRM || end->is_killed);
    HOLDS(!WIFSIGNALED(end->status) || end->took_ms >= FAULT_WORKER_DEADLINE_MS);
    HOLDS(!end->has_password && !heard->has_password);
    /* Who cannot report does not end as if it had. */
    HOLDS(end->has_result || end->status != 0);
    HOLDS(!end->has_result || is_success || result->text[0]);
    HOLDS(!is_success || opens);
    HOLDS(heard->opened == 0 || opens);
    HOLDS(!result->is_receipted || heard->opened + heard->failed > 0);
}

static void forget(struct fault_worker *world)
{
    world->heard->requests = world->heard->opened = world->heard->failed = 0;
}

struct inject_report fault_worker_try(struct fault_worker *world, const struct inject_order *order)
{
    CLEANUP(json_free_p) json_t *closed = steer("[\"dmk\",\"drop-service-key\"]\n");
    struct inject_report report;
    struct end end;

    assert_false(does_open());
    forget(world);
    inject_arm(order);
    end = run_worker(world);
    inject_disarm(&report);
    judge(world, &end, does_open());
    free(end.log);
    world->result = end.result;
    world->heard->cut_at = world->heard->hang_at = 0;
    forget(world);
    end = run_worker(world);
    judge(world, &end, does_open());
    if (!does_open())
        fail_msg("%s: the next worker did not open it: %s: %s; its log:\n%s", world->what,
                 worker_outcome_name(end.result.outcome), end.result.text, end.log);
    free(end.log);
    return report;
}
