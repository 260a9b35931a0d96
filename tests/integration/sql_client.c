/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQL layer as a command, and a prober process behind its channel, for tests:
 *   sql_client [KEY=VALUE...] -- COMMAND ARGUMENT... [COMMAND ARGUMENT...]...
 * Each command prints one line of result, after its rows. Exit code 0 if all of them went well.
 */
#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "libescrow/ipc_probe.h"
#include "libescrow/log.h"
#include "libescrow/prober.h"
#include "libescrow/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_MS 30000
#define PASSWORD_FILE_MAX 4096
#define TARGETS_MAX 8

struct client {
    struct sql_instance instance;
    struct sql_connection *connection;
    struct prober_target targets[TARGETS_MAX];
    size_t target_count;
    pid_t prober; /* 0: not started */
    int channel;
    uint64_t id;
};

/* How much later it is to our code than it is, here and in the prober. */
static time_t *later_s;

/* The linker puts this in the place of the real one (--wrap, CMakeLists.txt). */
int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    int status = __real_clock_gettime(clock, ret_now);

    if (later_s)
        ret_now->tv_sec += *later_s;
    return status;
}

static bool print_row(size_t columns, const char *const *values, void *argument)
{
    (void)argument;
    for (size_t i = 0; i < columns; i++)
        printf("%s%s", i ? "\t" : "row\t", values[i] ? values[i] : "NULL");
    printf("\n");
    return true;
}

static bool print_result(enum escrow_err err, const struct sql_error *error)
{
    if (err)
        printf("%s %d [%s] %s\n", escrow_err_name(err), error->number, error->sqlstate,
               error->text);
    else
        printf("ok\n");
    fflush(stdout);
    return !err;
}

static enum escrow_err need_connection(struct client *client, struct sql_error *ret_error)
{
    return client->connection ? ESCROW_OK
                              : sql_connect(&client->instance, &client->connection, ret_error);
}

static bool run_batch(struct client *client, char **arguments)
{
    struct sql_error error = {0};
    enum escrow_err err = need_connection(client, &error);

    if (!err)
        err = sql_batch(client->connection, arguments[0], print_row, NULL, &error);
    return print_result(err, &error);
}

/* open FILE: the master key, with the whole file as its password. */
static bool run_open(struct client *client, char **arguments)
{
    CLEANUP(secret_free_p) struct secret *password = secret_new(PASSWORD_FILE_MAX), *text = NULL;
    struct sql_error error = {0};
    FILE *file = fopen(arguments[0], "re");
    enum escrow_err err;

    if (!file || !password)
        abort();
    setvbuf(file, NULL, _IONBF, 0);
    password->len = fread(password->bytes, 1, password->len, file);
    fclose(file);
    text = tsql_open_master_key(password);
    err = text ? need_connection(client, &error) : ESCROW_ERR_MALFORMED;
    if (!err)
        err = sql_batch_secret(client->connection, text, &error);
    return print_result(err, &error);
}

static bool run_diagnose(struct client *client, char **arguments)
{
    char text[PROBE_TEXT_MAX];
    enum sql_diagnosis diagnosis =
        sql_diagnose(&client->instance, client->instance.login_timeout_s, text, sizeof(text));

    (void)arguments;
    printf("%s: %s\n", sql_diagnosis_code(diagnosis), text);
    return true;
}

static bool run_wait(struct client *client, char **arguments)
{
    char line[16];

    (void)client;
    (void)arguments;
    return fgets(line, sizeof(line), stdin);
}

/* later SECONDS: so much time passes at once. */
static bool run_later(struct client *client, char **arguments)
{
    (void)client;
    *later_s += (time_t)strtol(arguments[0], NULL, 10);
    return true;
}

static void start_prober(struct client *client)
{
    const struct prober_config config = {&client->instance, client->targets, client->target_count};
    int fds[2];

    if (ipc_pair(fds) != ESCROW_OK)
        abort();
    client->prober = fork();
    if (client->prober == 0) {
        close(fds[0]);
        _exit(prober_run(fds[1], &config) == ESCROW_OK ? 0 : 9);
    }
    close(fds[1]);
    client->channel = fds[0];
}

static void print_state(const struct probe_state *state)
{
    printf("outcome=%d sql_error=%d server=%s cluster=%d role=%d operational=%d recovery=%d "
           "health=%d synchronization=%d database=%d rw=%d forwarder=%d quorum=%d/%d primary=%s "
           "sequence=%d/%lld lsn=%s diagnosis=%s\n",
           (int)state->outcome, state->sql_error, state->server_name, state->cluster_type,
           state->role, state->operational_state, state->recovery_health,
           state->synchronization_health, state->synchronization_state, state->database_state,
           state->is_read_write, state->is_forwarder, state->has_quorum_row, state->quorum_state,
           state->primary_replica, state->has_sequence_number, (long long)state->sequence_number,
           state->recovery_lsn, state->diagnosis);
}

static void print_states(const struct ipc_probe_states *states)
{
    for (size_t i = 0; i < states->count; i++)
        print_state(&states->items[i]);
}

static void print_members(const struct probe_members *members)
{
    printf("outcome=%d", (int)members->outcome);
    for (size_t i = 0; i < members->count; i++)
        printf(" %s", members->names[i]);
    putchar('\n');
}

static void print_answer(const struct ipc_message *message)
{
    CLEANUP(cleanup_free) struct ipc_probe_states *states = NULL;
    struct ipc_probe_session session;
    struct ipc_probe_opens opens;
    struct probe_echo echo;
    struct probe_members members;
    struct probe_state state;

    if (message->type == IPC_PROBE_STATE && ipc_get_probe_state(message, &state) == ESCROW_OK)
        print_state(&state);
    else if (message->type == IPC_PROBE_STATES &&
             ipc_get_probe_states(message, &states) == ESCROW_OK)
        print_states(states);
    else if (message->type == IPC_PROBE_SESSION &&
             ipc_get_probe_session(message, &session) == ESCROW_OK)
        printf("outcome=%d found=%d\n", (int)session.outcome, session.is_found);
    else if (message->type == IPC_PROBE_ECHO && ipc_get_probe_echo(message, &echo) == ESCROW_OK)
        printf("outcome=%d found=%d late=%d closed=%d sql_error=%d\n", (int)echo.outcome,
               echo.is_found, echo.is_late, echo.is_closed, echo.sql_error);
    else if (message->type == IPC_PROBE_OPENS && ipc_get_probe_opens(message, &opens) == ESCROW_OK)
        printf("opens=%d sql_error=%d\n", (int)opens.opens, opens.sql_error);
    else if (message->type == IPC_PROBE_MEMBERS &&
             ipc_get_probe_members(message, &members) == ESCROW_OK)
        print_members(&members);
    else
        abort();
}

/* Asks the prober, which is started with the first question; says how it ended if it did. */
static bool ask(struct client *client, uint32_t type, const struct ipc_probe_question *question)
{
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    CLEANUP(ipc_buffer_free_p) struct ipc_buffer *buffer = ipc_buffer_new();
    struct ipc_message message;
    enum escrow_err err;
    int status = 0;

    if (client->prober == 0)
        start_prober(client);
    ipc_put_probe_question(&writer, (enum ipc_probe_type)type, question);
    err = ipc_send(client->channel, type, ++client->id, &writer, ANSWER_TIMEOUT_MS);
    if (!err)
        err = ipc_receive(client->channel, buffer, ANSWER_TIMEOUT_MS, &message);
    if (!err && message.id == client->id)
        print_answer(&message);
    else if (waitpid(client->prober, &status, 0) == client->prober)
        printf("prober: %s, exit %d\n", escrow_err_name(err), WEXITSTATUS(status));
    fflush(stdout);
    return !err;
}

static bool run_state(struct client *client, char **arguments)
{
    (void)arguments;
    return ask(client, IPC_PROBE_ASK_STATE, &(struct ipc_probe_question){0});
}

/* Of all that the prober knows. */
static bool run_states(struct client *client, char **arguments)
{
    (void)arguments;
    return ask(client, IPC_PROBE_ASK_STATES,
               &(struct ipc_probe_question){.count = (uint32_t)client->target_count});
}

static bool run_local(struct client *client, char **arguments)
{
    (void)arguments;
    return ask(client, IPC_PROBE_ASK_LOCAL, &(struct ipc_probe_question){0});
}

static bool run_opens(struct client *client, char **arguments)
{
    (void)arguments;
    return ask(client, IPC_PROBE_ASK_OPENS, &(struct ipc_probe_question){0});
}

static bool run_members(struct client *client, char **arguments)
{
    (void)arguments;
    return ask(client, IPC_PROBE_ASK_MEMBERS, &(struct ipc_probe_question){0});
}

/* session NONCE LOGIN */
static bool run_session(struct client *client, char **arguments)
{
    struct ipc_probe_question question = {.login = arguments[1]};

    if (hex_decode(arguments[0], question.nonce, sizeof(question.nonce)) != ESCROW_OK)
        return false;
    return ask(client, IPC_PROBE_ASK_SESSION, &question);
}

/* echo NONCE */
static bool run_echo(struct client *client, char **arguments)
{
    struct ipc_probe_question question = {0};

    if (hex_decode(arguments[0], question.nonce, sizeof(question.nonce)) != ESCROW_OK)
        return false;
    return ask(client, IPC_PROBE_ASK_ECHO, &question);
}

/* message TYPE TARGET: any type, any target */
static bool run_message(struct client *client, char **arguments)
{
    const struct ipc_probe_question question = {.target =
                                                    (uint32_t)strtoul(arguments[1], NULL, 10)};

    return ask(client, (uint32_t)strtoul(arguments[0], NULL, 16), &question);
}

static const struct {
    const char *name;
    int arguments;
    bool (*run)(struct client *client, char **arguments);
} commands[] = {
    {"batch", 1, run_batch},     {"open", 1, run_open},       {"diagnose", 0, run_diagnose},
    {"wait", 0, run_wait},       {"state", 0, run_state},     {"local", 0, run_local},
    {"opens", 0, run_opens},     {"members", 0, run_members}, {"session", 2, run_session},
    {"message", 2, run_message}, {"later", 1, run_later},     {"echo", 1, run_echo},
    {"states", 0, run_states},
};

static bool run_commands(struct client *client, int count, char **words)
{
    bool is_ok = true;

    while (count > 0) {
        size_t found = 0;

        while (found < ARRAY_LEN(commands) && strcmp(commands[found].name, words[0]) != 0)
            found++;
        if (found == ARRAY_LEN(commands) || count <= commands[found].arguments)
            return false;
        is_ok = commands[found].run(client, words + 1) && is_ok;
        count -= 1 + commands[found].arguments;
        words += 1 + commands[found].arguments;
    }
    return is_ok;
}

/* also=GROUP/DATABASE: one more that the prober knows, for states. */
static bool add_target(struct client *client, const char *value)
{
    const char *slash = strchr(value, '/');

    if (!slash || client->target_count == TARGETS_MAX)
        return false;
    client->targets[client->target_count++] =
        (struct prober_target){strndup(value, (size_t)(slash - value)), slash + 1};
    return true;
}

static bool set_option(struct client *client, const char *word)
{
    struct sql_instance *instance = &client->instance;
    const char *value = strchr(word, '=');
    const struct {
        const char *key;
        const char **text;
    } texts[] = {
        {"address=", &instance->address},
        {"tls_name=", &instance->tls_name},
        {"ca=", &instance->ca_file},
        {"login=", &instance->login},
        {"password=", &instance->password_file},
        {"keytab=", &instance->keytab},
        {"krb5_conf=", &instance->krb5_conf},
        {"group=", &client->targets[0].availability_group},
        {"database=", &client->targets[0].database},
    };

    if (!value)
        return false;
    value++;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strncmp(word, texts[i].key, strlen(texts[i].key)) == 0) {
            *texts[i].text = *value ? value : NULL;
            return true;
        }
    if (strncmp(word, "also=", 5) == 0)
        return add_target(client, value);
    if (strncmp(word, "port=", 5) == 0)
        instance->port = (uint16_t)strtoul(value, NULL, 10);
    else if (strncmp(word, "kdc_port=", 9) == 0)
        instance->kdc_port = (uint16_t)strtoul(value, NULL, 10);
    else if (strncmp(word, "timeout=", 8) == 0)
        instance->login_timeout_s = instance->query_timeout_s = (unsigned)strtoul(value, NULL, 10);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct client client = {
        .instance = {.name = "SQL1",
                     .address = "127.0.0.1",
                     .krb5_conf = "/etc/krb5.conf",
                     .kdc_port = 88,
                     .login_timeout_s = 5,
                     .query_timeout_s = 5},
        .targets = {{"AG1", "SSISDB"}},
        .target_count = 1,
        .channel = -1,
    };
    int at = 1;
    bool is_ok;

    log_init("sql_client", LOG_LEVEL_DEBUG);
    later_s =
        mmap(NULL, sizeof(*later_s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (later_s == MAP_FAILED)
        return 3;
    while (at < argc && strcmp(argv[at], "--") != 0)
        if (!set_option(&client, argv[at++]))
            return 2;
    if (secret_heap_init() != ESCROW_OK || sql_environment_new(&client.instance) != ESCROW_OK)
        return 3;
    is_ok = at < argc && run_commands(&client, argc - at - 1, argv + at + 1);
    sql_close(client.connection);
    cleanup_close(&client.channel);
    sql_environment_free();
    return is_ok ? 0 : 1;
}
