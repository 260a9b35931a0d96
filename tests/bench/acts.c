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
 *        sql        COUNT times the bare SQL of a promotion; standard input holds the password
 * NAME   whose keys: a replica's, or admin (SQL-PORT is 0 then)
 * ORDER  what releases are for; without it for a promotion
 *
 * Prints as stopwatch.h says.
 */
#include "libescrow/log.h"
#include "tests/bench/acts_client.h"
#include "tests/bench/stopwatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64

struct job;
typedef enum escrow_err (*act_fn)(struct acts_client *client, const struct job *job);

struct job {
    const char *mode, *name, *order;
    uint16_t port, sql_port;
    size_t count, connections;
    act_fn act;
    struct secret *password; /* with mode sql */
    int begin[2];            /* a pipe: its end is the signal to begin */
    int64_t *times_us;       /* shared between the processes: count for each connection */
    int64_t *ends_us;        /* shared too: when each connection was done */
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
    (void)job;
    return acts_client_deposit(client);
}

static enum escrow_err do_sql(struct acts_client *client, const struct job *job)
{
    return acts_client_bare_sql(client, job->password);
}

static const struct {
    const char *mode;
    act_fn act;
} modes[] = {
    {"release", do_release}, {"fresh", do_fresh}, {"order", do_order},
    {"deposit", do_deposit}, {"sql", do_sql},
};

static enum escrow_err work(const struct job *job, size_t index)
{
    int64_t *times_us = job->times_us + index * job->count;
    CLEANUP(acts_client_deinit) struct acts_client client = {0};
    enum escrow_err err = acts_client_init(&client, job->name, job->port, job->sql_port);
    char nothing;

    if (err)
        return err;
    client.order = job->order;
    /* What is made once is made before: the connection and what the keeper keeps of it. */
    if (job->act == do_release)
        err = job->act(&client, job);
    putchar('.');
    fflush(stdout);
    close(job->begin[1]);
    if (err || read(job->begin[0], &nothing, 1) != 0)
        return err ? err : ESCROW_ERR_SYSTEM;
    for (size_t i = 0; !err && i < job->count; i++) {
        int64_t begin_us = stopwatch_us();

        err = job->act(&client, job);
        times_us[i] = stopwatch_us() - begin_us;
    }
    job->ends_us[index] = stopwatch_us();
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

static int run(struct job *job)
{
    size_t count = job->count * job->connections;
    pid_t pids[CONNECTIONS_MAX];
    int ready[2], status, worst = 0;
    int64_t begin_us, end_us = 0;
    char dot;

    job->times_us = mmap(NULL, (count + job->connections) * sizeof(*job->times_us),
                         PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    job->ends_us = job->times_us + count;
    if (job->times_us == MAP_FAILED || pipe(job->begin) != 0 || pipe(ready) != 0)
        return EXIT_FAILURE;
    for (size_t i = 0; i < job->connections; i++)
        pids[i] = start(job, i, ready[1]);
    close(ready[1]);
    for (size_t i = 0; i < job->connections; i++) {
        if (read(ready[0], &dot, 1) != 1)
            worst = EXIT_FAILURE;
    }
    begin_us = stopwatch_us();
    close(job->begin[1]);
    for (size_t i = 0; i < job->connections; i++) {
        if (pids[i] < 0 || waitpid(pids[i], &status, 0) < 0 || status != 0)
            worst = EXIT_FAILURE;
        if (job->ends_us[i] > end_us)
            end_us = job->ends_us[i];
    }
    if (worst == 0)
        stopwatch_print(job->times_us, count, end_us - begin_us);
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
    if (job.act == do_sql) {
        if (secret_heap_init() == ESCROW_OK)
            job.password = read_password();
        if (!job.password)
            return EXIT_FAILURE;
    }
    return run(&job);
}
