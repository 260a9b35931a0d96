/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/cleanup.h"
#include "tests/fault/inject.h"
#include "tests/fault/sanitizer_exit.h"
#include "tests/unit/front_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * Front under failures on order: a sample of the calls of its work fail, each in its own run (with
 * ESCROW_TEST_ALL=1 also the first call of every place that it makes calls from); then many at
 * once, by chance. Whatever fails:
 *
 *  - front does not die, and leaks neither memory (LSan, at its end) nor descriptors;
 *  - each client has a whole reply, or its connection ends, by the deadlines;
 *  - nothing leaves but records of TLS;
 *  - the keeper gets no request but of a client whose certificate is good;
 *  - afterwards the same work is served; front may end for it, but not as if told to.
 *
 * ESCROW_TEST_SEED repeats a sample; ESCROW_FAULT=PLACE:CLASS:AT:SPAN:VARIANT runs one order.
 */

#define REQUEST_MS 1500
#define WAIT_MS 20000 /* far more than all deadlines of a connection together */
#define SHORT_MS 2000
#define VARIANTS 6
#define FOR_LONG 1000000
#define SAMPLE 10
#define CHANCES 2
#define ONE_IN 300 /* calls; a connection makes about 2000 */
#define SEED 1
#define CLIENTS 2

struct world {
    struct front_fixture fx;
    struct ff_client clients[CLIENTS];
    size_t count; /* that have dialled */
    unsigned descriptors;
    int wait_ms; /* for clients; shorter than WAIT_MS: they may get nothing at all */
};

/* True if all of it was served. */
typedef bool (*work_fn)(struct world *world);

static uint64_t seed, first_seed;
static pid_t main_pid;
static char current[160] = "setting up";

static void say_current(void)
{
    if (getpid() == main_pid && current[0])
        fprintf(stderr, "# with seed %llu, at %s\n", (unsigned long long)first_seed, current);
}

/* ---- the work ---- */

static struct ff_client *dial(struct world *world, enum ff_who who, const char *request)
{
    struct ff_client *client = &world->clients[world->count++];

    ff_dial(&world->fx, client, who, NULL);
    ff_ask(client, request);
    return client;
}

/*
 * While making TLS objects fails for long nobody is accepted, and clients wait in the kernel; so
 * they do when front has ended.
 */
static bool finish(struct world *world)
{
    if (!ff_finish(&world->fx, world->clients, world->count, world->wait_ms) && world->fx.pid &&
        world->wait_ms == WAIT_MS)
        ff_fail("a client", "has neither a reply nor an end");
    for (size_t i = 0; i < world->count; i++) {
        if (world->clients[i].is_plain)
            ff_fail("something left", "that is no record of TLS");
    }
    return true;
}

static bool work_get(struct world *world)
{
    struct ff_client *client = dial(world, FF_AGENT, ff_get);

    finish(world);
    if (client->is_over || ff_status(client) != 200)
        return false;
    ff_ask(client, ff_get);
    finish(world);
    return ff_status(client) == 200;
}

static bool work_post(struct world *world)
{
    const struct ff_client *one = dial(world, FF_AGENT, ff_post);
    const struct ff_client *other = dial(world, FF_OTHER, ff_get);

    finish(world);
    return ff_status(one) == 200 && ff_status(other) == 200;
}

/* Those who must not get in. */
static bool work_refuse(struct world *world)
{
    const unsigned requests = world->fx.requests;

    dial(world, FF_REVOKED, ff_get);
    dial(world, FF_STRANGER, ff_post);
    finish(world);
    for (size_t i = 0; i < world->count; i++) {
        if (ff_status(&world->clients[i]) == 200)
            ff_fail("a refused certificate", "was served");
    }
    if (world->fx.requests != requests)
        ff_fail("a refused certificate", "asked the keeper");
    return true;
}

/* What evhttp itself would answer by a page. */
static bool work_malformed(struct world *world)
{
    const struct ff_client *client = dial(world, FF_AGENT, "GET / HTTP/9\r\n\r\n");

    dial(world, FF_OTHER, "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    finish(world);
    for (size_t i = 0; i < world->count; i++) {
        if (strcasestr(world->clients[i].reply, "<html"))
            ff_fail("a page", world->clients[i].reply);
    }
    return ff_status(client) == 400 && ff_status(&world->clients[1]) == 404;
}

static bool work_plain(struct world *world)
{
    struct ff_client *client = &world->clients[world->count++];

    ff_connect(&world->fx, client, FF_AGENT, NULL);
    if (send(client->fd, ff_get, strlen(ff_get), MSG_NOSIGNAL) < 0)
        client->is_over = true;
    finish(world);
    return client->is_over;
}

/* Until the keeper has one request more than these, or the client needs none any more. */
static void wait_asked(struct world *world, struct ff_client *client, unsigned requests)
{
    for (int i = 0; i < 100 && !client->is_over && ff_status(client) == 0; i++) {
        if (world->fx.requests != requests)
            return;
        ff_turn(&world->fx, client, 1, world->wait_ms / 50);
    }
}

/* The keeper is replaced while a request waits. */
static bool work_keeper(struct world *world)
{
    const unsigned requests = world->fx.requests;
    struct ff_client *client = dial(world, FF_AGENT, ff_get);

    world->fx.is_mute = true;
    wait_asked(world, client, requests);
    if (world->fx.pid)
        ff_attach_keeper(&world->fx);
    finish(world);
    world->fx.is_mute = false;
    return ff_status(client) == 503;
}

/* A client that leaves while its request waits. */
static bool work_leave(struct world *world)
{
    const unsigned requests = world->fx.requests;
    struct ff_client *client = dial(world, FF_AGENT, ff_wait);
    bool is_there;

    world->fx.is_mute = true;
    wait_asked(world, client, requests);
    is_there = !client->is_over;
    world->fx.is_mute = false;
    return is_there;
}

static bool work_reload(struct world *world)
{
    const unsigned reloads = world->fx.reloads;

    ff_reload(&world->fx);
    for (int i = 0; world->fx.pid && world->fx.reloads == reloads; i++) {
        if (i == 20 && world->wait_ms != WAIT_MS)
            return false; /* front cannot say it */
        if (i == 20)
            ff_fail("new credentials", "are neither taken nor refused");
        ff_turn(&world->fx, NULL, 0, WAIT_MS / 20);
    }
    return world->fx.pid && work_get(world);
}

static const struct place {
    const char *name;
    work_fn work; /* NULL: the start of front */
} places[] = {
    {"get", work_get},       {"post", work_post},     {"refuse", work_refuse},
    {"plain", work_plain},   {"keeper", work_keeper}, {"malformed", work_malformed},
    {"reload", work_reload}, {"leave", work_leave},   {"start", NULL},
};

/* ---- one run ---- */

static void hang_up(struct world *world)
{
    for (size_t i = 0; i < world->count; i++)
        ff_hang_up(&world->clients[i]);
    world->count = 0;
}

/* Front ended: it may, but not by a fault of its own, and not as if it had been told to. */
static void check_exit(const struct front_fixture *fx)
{
    if (!WIFEXITED(fx->exit_status))
        ff_fail("front died", strsignal(WTERMSIG(fx->exit_status)));
    if (WEXITSTATUS(fx->exit_status) >= SANITIZER_EXIT || WEXITSTATUS(fx->exit_status) == 0)
        ff_fail("front ended", "with a sanitizer's report, or as if told to");
}

/* What it opened for the clients is closed once they are gone, at the latest by the deadlines. */
static void wait_closed(struct world *world)
{
    for (int i = 0; world->fx.pid && ff_descriptors(&world->fx) > world->descriptors; i++) {
        if (i == 40)
            ff_fail("descriptors", "stay open");
        ff_turn(&world->fx, NULL, 0, WAIT_MS / 40);
    }
}

/* Nothing fails any more. */
static void recover(struct world *world, work_fn work)
{
    struct front_fixture *fx = &world->fx;

    hang_up(world);
    if (fx->pid)
        ff_ping(fx, fx->last_pong + 1);
    if (fx->pid && fx->keeper_fd < 0)
        ff_attach_keeper(fx);
    if (fx->pid && world->descriptors)
        wait_closed(world);
    if (!fx->pid) {
        check_exit(fx);
        if (!ff_run(fx))
            ff_fail("front", "does not start again");
    }
    if (!work(world))
        ff_fail("honest work", "is not served");
    hang_up(world);
    if (fx->is_foreign)
        ff_fail("the keeper was asked", "under a wrong identity");
}

static struct inject_report try(struct world *world, const struct place *place,
                                const struct inject_order *order)
{
    struct front_fixture *fx = &world->fx;
    struct inject_report report;

    if (order->at)
        snprintf(current, sizeof(current), "ESCROW_FAULT=%s:%s:%llu:%llu:%u", place->name,
                 inject_class_name(order->class), (unsigned long long)order->at,
                 (unsigned long long)order->span, order->variant);
    else
        snprintf(current, sizeof(current), "%s by chance, seed %llu", place->name,
                 (unsigned long long)order->seed);
    if (getenv("ESCROW_TEST_VERBOSE"))
        fprintf(stderr, "# %s\n", current);
    if (!place->work)
        ff_shut_down(fx);
    world->wait_ms = order->at && order->span == 1 ? WAIT_MS : SHORT_MS;
    inject_arm(order);
    if (place->work)
        (void)place->work(world);
    else if (!ff_run(fx))
        check_exit(fx);
    inject_disarm(&report);
    world->wait_ms = WAIT_MS;
    recover(world, place->work ? place->work : work_get);
    return report;
}

/* ---- all of them, or a sample ---- */

static uint64_t count_calls(struct world *world, const struct place *place,
                            uint64_t ret_calls[INJECT_CLASSES])
{
    static const struct inject_order nothing = {.at = UINT64_MAX, .span = 1};
    struct inject_report report = try(world, place, &nothing);
    uint64_t sum = 0;

    /* OpenSSL 3.0 leaks what it had when it cannot finish its own initialisation. */
    if (!place->work)
        report.calls[INJECT_OPENSSL] = 0;
    for (int i = 0; i < INJECT_CLASSES; i++) {
        ret_calls[i] = report.calls[i];
        sum += report.calls[i];
    }
    return sum;
}

/* Each class as likely as any other. */
static struct inject_order draw(const uint64_t calls[INJECT_CLASSES])
{
    struct inject_order order = {.span = 1};

    do
        order.class = (enum inject_class)(inject_draw(&seed) % INJECT_CLASSES);
    while (calls[order.class] == 0);
    order.at = 1 + inject_draw(&seed) % calls[order.class];
    order.variant = (unsigned)(inject_draw(&seed) % VARIANTS);
    if (inject_draw(&seed) % 4 == 0)
        order.span = FOR_LONG;
    return order;
}

/* The first call of each place that they come from, as counted last. */
static void try_all(struct world *world, const struct place *place,
                    const uint64_t calls[INJECT_CLASSES])
{
    uint32_t *firsts[INJECT_CLASSES];
    size_t counts[INJECT_CLASSES], runs = 0;

    for (int class = 0; class < INJECT_CLASSES; class ++)
        firsts[class] = inject_firsts((enum inject_class) class, &counts[class]);
    for (int class = 0; class < INJECT_CLASSES; class ++) {
        for (size_t i = 0; calls[class] > 0 && i < counts[class]; i++, runs++)
            try(world, place,
                &(struct inject_order){.class = (enum inject_class) class,
                                       .at = firsts[class][i],
                                       .span = 1,
                                       .variant = (unsigned)(i % VARIANTS)});
        free(firsts[class]);
    }
    printf("# %s: %zu places\n", place->name, runs);
}

static void world_start(struct world *world)
{
    *world = (struct world){.wait_ms = WAIT_MS};
    ff_start(&world->fx, &(struct ff_options){.request_ms = REQUEST_MS, .in_front = inject_here});
    recover(world, work_get);
    ff_ping(&world->fx, 1);
    ff_ping(&world->fx, 2);
    world->descriptors = ff_descriptors(&world->fx);
}

/* LSan looks through front's memory when it ends. */
static void world_stop(struct world *world)
{
    ff_stop(&world->fx);
    if (!WIFEXITED(world->fx.exit_status) || WEXITSTATUS(world->fx.exit_status) != 0)
        ff_fail("front", "did not end well");
    current[0] = '\0';
}

static void test_place(void **state)
{
    const struct place *place = *state;
    const char *all = getenv("ESCROW_TEST_ALL");
    const bool is_all = all && strcmp(all, "1") == 0;
    uint64_t calls[INJECT_CLASSES], sum;
    struct world world;

    world_start(&world);
    sum = count_calls(&world, place, calls);
    printf("# %s: sampled %llu of %llu (seed %llu)\n", place->name, (unsigned long long)SAMPLE,
           (unsigned long long)sum, (unsigned long long)first_seed);
    fflush(stdout);
    if (is_all)
        try_all(&world, place, calls);
    for (unsigned run = 0; run < SAMPLE; run++) {
        struct inject_order order = draw(calls);

        /* A front that cannot say for long that it is ready is killed by the supervisor. */
        if (!place->work && order.class == INJECT_SOCKET)
            order.span = 1;
        try(&world, place, &order);
    }
    for (unsigned run = 0; place->work && run < CHANCES; run++)
        try(&world, place, &(struct inject_order){.one_in = ONE_IN, .seed = inject_draw(&seed)});
    world_stop(&world);
}

/* ESCROW_FAULT: one order, with everything said. */
static int run_one(char *text)
{
    struct inject_order order = {.span = 1};
    struct world world;
    const char *name = strsep(&text, ":"), *class = strsep(&text, ":");
    const char *numbers[3] = {strsep(&text, ":"), strsep(&text, ":"), strsep(&text, ":")};

    for (int i = 0; class && i < INJECT_CLASSES; i++) {
        if (strcmp(class, inject_class_name((enum inject_class)i)) == 0)
            order.class = (enum inject_class)i;
    }
    order.at = numbers[0] ? strtoull(numbers[0], NULL, 10) : 1;
    order.span = numbers[1] ? strtoull(numbers[1], NULL, 10) : 1;
    order.variant = numbers[2] ? (unsigned)strtoul(numbers[2], NULL, 10) : 0;
    setenv("ESCROW_TEST_VERBOSE", "1", 1);
    world_start(&world);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (strcmp(places[i].name, name) == 0)
            try(&world, &places[i], &order);
    }
    world_stop(&world);
    return EXIT_SUCCESS;
}

/* argument: the place, where not all are wanted. */
int main(int count, char *arguments[])
{
    struct CMUnitTest tests[ARRAY_LEN(places)];
    const char *wanted = getenv("ESCROW_TEST_SEED");
    char *one = getenv("ESCROW_FAULT");

    seed = first_seed = wanted ? strtoull(wanted, NULL, 10) : SEED;
    main_pid = getpid();
    inject_init();
    atexit(say_current);
    if (one)
        return run_one(one);
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        tests[i] = (struct CMUnitTest){.name = places[i].name,
                                       .test_func = test_place,
                                       .initial_state = (void *)(uintptr_t)&places[i]};
    if (count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
