/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acts of agents and admins, many of them, for benches. Runs in the folder of a chain of
 * tests/integration/lib/chain.bash, which it takes every key and name from.
 *
 *   acts MODE NAME PORT SQL-PORT COUNT [CONNECTIONS [ORDER]]
 *
 * MODE   release    COUNT releases over each of CONNECTIONS kept connections, at the same time
 *        fresh      COUNT releases over a new connection each
 *        order      an order of a drill
 *        deposit    COUNT further versions
 *        deposits   the first version for each of the groups storm-1 ... storm-COUNT, whose
 *                   databases have the same names
 *        sql        COUNT times the bare SQL of a promotion
 *        storm      CONNECTIONS agents, of the groups storm-1 ... (COUNT is 1), whose files are in
 *                   crowd/: each is connected, as an agent's worker that is ready; then "ready" is
 *                   printed, and on an end of line all ask at once, until the master key of each
 *                   opens by itself. Times are from then on. What they cost beyond that, their
 *                   ends, comes when the last one is done.
 * NAME   whose keys: a replica's, or admin (SQL-PORT is 0 then); with storm, of which replica
 * ORDER  what releases are for; without it for a promotion
 *
 * With sql and deposits the first line of standard input is the password. Prints as stopwatch.h
 * says; with storm before that {"cpu_us"}, the processor time of all agents from the end of line
 * on, until each was done.
 */
#include "libescrow/log.h"
#include "tests/bench/acts_client.h"
#include "tests/bench/stopwatch.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1000
#define AGAIN_MS 200 /* as the agent does: doubled each time, and up to a quarter more */
#define AGAIN_MAX_MS 24000
#define GIVE_UP_US (INT64_C(300) * 1000000)
#define LAST_MS (330 * 1000) /* all have given up by then */

struct job;
typedef enum escrow_err (*act_fn)(struct acts_client *client, const struct job *job);

struct job {
    const char *mode, *name, *order;
    uint16_t port, sql_port;
    size_t count, connections;
    act_fn act;
    struct secret *password; /* of standard input */
    int begin[2];            /* a pipe: its end is the signal to begin */
    int end[2];              /* and this one's, that the last one is done */
    int64_t *times_us;       /* shared between the processes: count for each connection */
    int64_t *ends_us;        /* shared too: when each connection was done */
    int64_t *begin_us;       /* shared too */
    int64_t *cpu_us;         /* shared too: of each connection */
};

static enum escrow_err do_release(struct acts_client *client, const struct job *job)
{
    (void)job;
    return acts_client_release(client);
}

static enum escrow_err do_fresh(struct acts_client *client, const struct job *job)
{
    enum escrow_err err = acts_client_reconnect(client);

    return err ? err : do_release(client, job);
}

static enum escrow_err do_order(struct acts_client *client, const struct job *job)
{
    (void)job;
    return acts_client_order(client);
}

static enum escrow_err do_deposit(struct acts_client *client, const struct job *job)
{
    CLEANUP(secret_free_p) struct secret *password = secret_from("of no meaning", 13);

    (void)job;
    return password ? acts_client_deposit(client, password) : ESCROW_ERR_NO_MEMORY;
}

static void name_group(size_t number, char ret_name[static 32])
{
    snprintf(ret_name, 32, "storm-%zu", number);
}

/* One of them: its number goes on with each call. */
static enum escrow_err do_deposits(struct acts_client *client, const struct job *job)
{
    static size_t number;
    char group[32];

    name_group(++number, group);
    client->config.group = client->config.database = group;
    return acts_client_deposit(client, job->password);
}

/* Refused: not seen as primary yet, or too many at once. */
static enum escrow_err do_storm(struct acts_client *client, const struct job *job)
{
    int64_t pause_ms = AGAIN_MS;
    enum escrow_err err;

    srandom((unsigned)getpid());
    while ((err = acts_client_promotion(client)) != ESCROW_OK &&
           stopwatch_us() - *job->begin_us < GIVE_UP_US) {
        int64_t ms = pause_ms + random() % (pause_ms / 4);

        usleep((useconds_t)ms * 1000);
        pause_ms = 2 * pause_ms < AGAIN_MAX_MS ? 2 * pause_ms : AGAIN_MAX_MS;
    }
    if (err)
        log_error("%s gave up: %s", client->config.name, client->session.problem.detail);
    return err;
}

static enum escrow_err do_sql(struct acts_client *client, const struct job *job)
{
    return acts_client_bare_sql(client, job->password);
}

static const struct {
    const char *mode;
    act_fn act;
} modes[] = {
    {"release", do_release},   {"fresh", do_fresh}, {"order", do_order}, {"deposit", do_deposit},
    {"deposits", do_deposits}, {"sql", do_sql},     {"storm", do_storm},
};

static enum escrow_err begin(const struct job *job, size_t index, struct acts_client *client)
{
    static char name[16], group[32];
    struct acts_config config = {.name = job->name,
                                 .group = "ssis",
                                 .database = "SSISDB",
                                 .replica = job->sql_port ? job->name : NULL,
                                 .port = job->port,
                                 .sql_port = job->sql_port};
    enum escrow_err err;

    if (job->act == do_storm) {
        snprintf(name, sizeof(name), "%zu", index + 1);
        name_group(index + 1, group);
        config.name = name;
        config.folder = "crowd/";
        config.group = config.database = group;
    }
    err = acts_client_init(client, &config);
    client->order = job->order;
    if (!err && config.replica && job->act != do_storm)
        err = acts_client_enter(client);
    if (!err && job->act == do_storm)
        err = acts_client_warm(client);
    /* What is made once is made before: the connection and what the keeper keeps of it. */
    if (!err && job->act == do_release)
        err = job->act(client, job);
    return err;
}

static void say_dot(void)
{
    putchar('.');
    fflush(stdout);
}

static enum escrow_err work(const struct job *job, size_t index)
{
    int64_t *times_us = job->times_us + index * job->count;
    CLEANUP(acts_client_deinit) struct acts_client client = {0};
    enum escrow_err err = begin(job, index, &client);
    int64_t began_us;
    char nothing;

    close(job->begin[1]);
    close(job->end[1]);
    say_dot();
    if (!err && read(job->begin[0], &nothing, 1) != 0)
        err = ESCROW_ERR_SYSTEM;
    began_us = stopwatch_cpu_us();
    for (size_t i = 0; !err && i < job->count; i++) {
        int64_t begin_us = job->act == do_storm ? *job->begin_us : stopwatch_us();

        err = job->act(&client, job);
        times_us[i] = stopwatch_us() - begin_us;
    }
    job->ends_us[index] = stopwatch_us();
    job->cpu_us[index] = stopwatch_cpu_us() - began_us;
    say_dot();
    (void)!read(job->end[0], &nothing, 1);
    return err;
}

/* Its standard output is the pipe on which it says that it is ready. */
static pid_t start(const struct job *job, size_t index, int ready_fd)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    dup2(ready_fd, STDOUT_FILENO);
    exit(escrow_err_exit_code(work(job, index)));
}

/* All are ready. */
static void let_go(struct job *job)
{
    if (job->act == do_storm) {
        puts("ready");
        fflush(stdout);
        getchar();
    }
    *job->begin_us = stopwatch_us();
    close(job->begin[1]);
}

/* A dot of each; false if one has ended without, or it takes too long. */
static bool await_dots(const struct job *job, int fd)
{
    struct pollfd dots = {.fd = fd, .events = POLLIN};
    char dot;

    for (size_t i = 0; i < job->connections; i++) {
        if (poll(&dots, 1, LAST_MS) != 1 || read(fd, &dot, 1) != 1)
            return false;
    }
    return true;
}

static int run(struct job *job)
{
    size_t count = job->count * job->connections;
    pid_t pids[CONNECTIONS_MAX];
    int ready[2], status, worst = 0;
    int64_t end_us = 0, cpu_us = 0;

    job->times_us = mmap(NULL, (count + 2 * job->connections + 1) * sizeof(*job->times_us),
                         PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    job->ends_us = job->times_us + count;
    job->cpu_us = job->ends_us + job->connections;
    job->begin_us = job->cpu_us + job->connections;
    if (job->times_us == MAP_FAILED || pipe(job->begin) != 0 || pipe(job->end) != 0 ||
        pipe(ready) != 0)
        return EXIT_FAILURE;
    for (size_t i = 0; i < job->connections; i++)
        pids[i] = start(job, i, ready[1]);
    close(ready[1]);
    if (!await_dots(job, ready[0]))
        worst = EXIT_FAILURE;
    let_go(job);
    if (!await_dots(job, ready[0]))
        worst = EXIT_FAILURE;
    close(job->end[1]);
    for (size_t i = 0; i < job->connections; i++) {
        if (pids[i] < 0 || waitpid(pids[i], &status, 0) < 0 || status != 0)
            worst = EXIT_FAILURE;
        if (job->ends_us[i] > end_us)
            end_us = job->ends_us[i];
        cpu_us += job->cpu_us[i];
    }
    if (worst == 0 && job->act == do_storm)
        printf("{\"cpu_us\": %" PRId64 "}\n", cpu_us);
    if (worst == 0)
        stopwatch_print(job->times_us, count, end_us - *job->begin_us);
    return worst;
}

static struct secret *read_password(void)
{
    char line[256] = "";
    struct secret *password = NULL;

    if (fgets(line, sizeof(line), stdin) && line[0] != '\n')
        password = secret_from(line, strcspn(line, "\n"));
    secret_wipe(line, sizeof(line));
    return password;
}

int main(int argc, char **argv)
{
    struct job job = {.connections = 1};

    log_init("acts", LOG_LEVEL_WARNING);
    if (argc >= 6 && argc <= 8) {
        job.mode = argv[1];
        job.name = argv[2];
        job.port = (uint16_t)strtoul(argv[3], NULL, 10);
        job.sql_port = (uint16_t)strtoul(argv[4], NULL, 10);
        job.count = strtoul(argv[5], NULL, 10);
        job.connections = argc >= 7 ? strtoul(argv[6], NULL, 10) : 1;
        job.order = argc == 8 ? argv[7] : NULL;
        for (size_t i = 0; i < ARRAY_LEN(modes); i++)
            job.act = strcmp(modes[i].mode, job.mode) == 0 ? modes[i].act : job.act;
    }
    if (!job.act || job.count == 0 || job.connections == 0 || job.connections > CONNECTIONS_MAX) {
        fputs("acts: see the head of its source\n", stderr);
        return escrow_err_exit_code(ESCROW_ERR_USAGE);
    }
    if (job.act == do_sql || job.act == do_deposits) {
        if (secret_heap_init() == ESCROW_OK)
            job.password = read_password();
        if (!job.password)
            return EXIT_FAILURE;
    }
    return run(&job);
}
