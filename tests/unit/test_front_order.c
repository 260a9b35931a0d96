/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_listener.h"
#include "escrowd/front_order.h"
#include "libescrow/cleanup.h"
#include "libescrow/secret.h"
#include "tests/unit/front_fixture.h"

#include <event2/bufferevent_struct.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- who comes before whom ---- */

struct source {
    int client, accepted;
    struct bufferevent *bufferevent;
    struct front_place place;
};

struct scene {
    struct event_base *base;
    struct front_order *order;
    int listener;
    uint16_t port;
    struct source sources[2 * FRONT_ORDER_FEW];
};

static int setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    assert_non_null(scene);
    scene->base = front_order_base_new();
    scene->order = front_order_new();
    assert_non_null(scene->base);
    assert_non_null(scene->order);
    assert_int_equal(front_listen("127.0.0.1", 0, &scene->listener, &scene->port), ESCROW_OK);
    *state = scene;
    return 0;
}

static void end(struct source *source)
{
    if (source->bufferevent)
        bufferevent_free(source->bufferevent);
    cleanup_close(&source->client);
    source->bufferevent = NULL;
}

static int teardown(void **state)
{
    struct scene *scene = *state;

    for (size_t i = 0; i < ARRAY_LEN(scene->sources); i++) {
        if (scene->sources[i].bufferevent)
            end(&scene->sources[i]);
    }
    close(scene->listener);
    front_order_free(scene->order);
    event_base_free(scene->base);
    free(scene);
    return 0;
}

/* A connection from there; returns its priority. */
static int enter(struct scene *scene, struct source *source, const char *from)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct pollfd ready = {.fd = scene->listener, .events = POLLIN};

    *source = (struct source){.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(inet_pton(AF_INET, from, &address.sin_addr), 1);
    assert_int_equal(bind(source->client, (struct sockaddr *)&address, sizeof(address)), 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(scene->port);
    assert_int_equal(connect(source->client, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(poll(&ready, 1, FF_DEADLINE_MS), 1);
    source->accepted = accept4(scene->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    source->bufferevent =
        bufferevent_socket_new(scene->base, source->accepted, BEV_OPT_CLOSE_ON_FREE);
    assert_non_null(source->bufferevent);
    front_order_enter(scene->order, &source->place, source->bufferevent);
    return event_get_priority(&source->bufferevent->ev_read);
}

static int ask(struct scene *scene, struct source *source, int64_t now_ms)
{
    front_order_ask(scene->order, &source->place, source->bufferevent, now_ms);
    return event_get_priority(&source->bufferevent->ev_read);
}

/* What nobody asked about: the channel to the keeper, timers. */
static int of_others(struct scene *scene)
{
    struct event *event = event_new(scene->base, -1, 0, NULL, NULL);
    int priority = event_get_priority(event);

    event_free(event);
    return priority;
}

static void test_handshakes_come_after_what_is_known(void **state)
{
    struct scene *scene = *state;
    struct source *source = &scene->sources[0];

    assert_true(enter(scene, source, "127.0.0.1") > of_others(scene));
    assert_int_equal(ask(scene, source, 1), of_others(scene));
}

static void test_many_handshakes_of_a_source_come_last(void **state)
{
    struct scene *scene = *state;
    int first = 0, priority = 0;

    for (int i = 0; i < FRONT_ORDER_FEW; i++) {
        priority = enter(scene, &scene->sources[i], "127.0.0.1");
        first = i == 0 ? priority : first;
        assert_int_equal(priority, first);
    }
    assert_true(enter(scene, &scene->sources[FRONT_ORDER_FEW], "127.0.0.1") > first);
    assert_int_equal(enter(scene, &scene->sources[FRONT_ORDER_FEW + 1], "127.0.0.2"), first);
    /* Whoever is known, or gone, makes room: the one too many takes the first place. */
    ask(scene, &scene->sources[0], 1);
    ask(scene, &scene->sources[0], 2);
    assert_int_equal(scene->sources[0].place.is_counted, false);
    front_order_leave(scene->order, &scene->sources[1].place);
    front_order_leave(scene->order, &scene->sources[1].place);
    assert_int_equal(enter(scene, &scene->sources[FRONT_ORDER_FEW + 2], "127.0.0.1"), first);
    assert_true(enter(scene, &scene->sources[FRONT_ORDER_FEW + 3], "127.0.0.1") > first);
}

/* Else whoever asks without end would keep new connections out. */
static void test_who_asks_much_waits_behind_handshakes(void **state)
{
    struct scene *scene = *state;
    struct source *source = &scene->sources[0];
    int handshake = enter(scene, source, "127.0.0.1");

    for (int i = 0; i < FRONT_ORDER_LITTLE; i++)
        assert_int_equal(ask(scene, source, 5000), of_others(scene));
    assert_true(ask(scene, source, 5999) > handshake);
    assert_int_equal(ask(scene, source, 6000), of_others(scene));
}

struct step {
    struct event *event;
    int urgent_fd; /* to be written to; -1: none */
    size_t *done;
    size_t at;
};

static void on_step(evutil_socket_t fd, short events, void *argument)
{
    struct step *step = argument;

    (void)fd;
    (void)events;
    step->at = ++*step->done;
    if (step->urgent_fd >= 0)
        assert_int_equal(write(step->urgent_fd, "x", 1), 1);
}

/* What becomes due while one of many steps is done comes before the next one. */
static void test_later_steps_are_done_one_at_a_time(void **state)
{
    struct scene *scene = *state;
    struct step steps[4] = {0};
    size_t done = 0;
    int later = enter(scene, &scene->sources[0], "127.0.0.1"), fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        const bool is_urgent = i == 3;

        steps[i] = (struct step){.done = &done, .urgent_fd = i == 0 ? fds[1] : -1};
        steps[i].event = event_new(scene->base, is_urgent ? fds[0] : -1, is_urgent ? EV_READ : 0,
                                   on_step, &steps[i]);
        assert_non_null(steps[i].event);
    }
    assert_int_equal(event_add(steps[3].event, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(event_priority_set(steps[i].event, later), 0);
        event_active(steps[i].event, EV_TIMEOUT, 0);
    }
    while (done < ARRAY_LEN(steps))
        assert_true(event_base_loop(scene->base, EVLOOP_NONBLOCK) >= 0);
    assert_int_equal(steps[0].at, 1);
    assert_int_equal(steps[3].at, 2);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        event_free(steps[i].event);
    cleanup_close(&fds[0]);
    cleanup_close(&fds[1]);
}

/* ---- of a front that runs ---- */

#define CROWD 40
#define TICK_MS 4

/* Front answers it by itself: 404. */
static const char unknown[] = "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n";

/* Front stands still; everything that follows is there at once when it goes on. */
static void stop(const struct front_fixture *fx)
{
    int status;

    assert_int_equal(kill(fx->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(fx->pid, &status, WUNTRACED), fx->pid);
    assert_true(WIFSTOPPED(status));
}

/* Milliseconds since something came, by the kernel: when this process looks does not matter. */
static uint32_t age_ms(const struct ff_client *client)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    assert_int_equal(getsockopt(client->fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_last_data_recv;
}

/* How many of them front said something to, before it did to that one. */
static size_t earlier(const struct ff_client *clients, size_t count, const struct ff_client *one)
{
    const uint32_t one_ms = age_ms(one);
    size_t earlier = 0;

    for (size_t i = 0; i < count; i++) {
        struct pollfd polled = {.fd = clients[i].fd, .events = POLLIN};

        /* Less than a tick of the kernel apart is neither before nor after. */
        earlier += poll(&polled, 1, 0) == 1 && age_ms(&clients[i]) > one_ms + TICK_MS;
    }
    return earlier;
}

static void test_a_request_overtakes_handshakes(void **state)
{
    struct front_fixture fx;
    struct ff_client known, crowd[CROWD];
    size_t before;

    (void)state;
    ff_start(&fx, &(struct ff_options){.request_ms = FF_DEADLINE_MS});
    ff_dial(&fx, &known, FF_AGENT, NULL);
    ff_ask(&known, ff_get);
    assert_true(ff_finish(&fx, &known, 1, FF_DEADLINE_MS));

    for (size_t i = 0; i < CROWD; i++)
        ff_connect(&fx, &crowd[i], FF_OTHER, NULL);
    /* They are there at the first, so after the second they are accepted. */
    ff_ping(&fx, 1);
    ff_ping(&fx, 2);
    stop(&fx);
    for (size_t i = 0; i < CROWD; i++)
        ff_greet(&crowd[i]);
    ff_ask(&known, unknown);
    ff_turn(&fx, &known, 1, 0);
    kill(fx.pid, SIGCONT);
    assert_true(ff_finish(&fx, &known, 1, FF_DEADLINE_MS));
    before = earlier(crowd, CROWD, &known);
    assert_int_equal(ff_status(&known), 404);
    printf("# %zu of %d handshakes went on before the reply\n", before, CROWD);
    assert_in_range(before, 0, CROWD / 2);

    for (size_t i = 0; i < CROWD; i++)
        ff_ask(&crowd[i], ff_get);
    assert_true(ff_finish(&fx, crowd, CROWD, FF_DEADLINE_MS));
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(ff_status(&crowd[i]), 200);
        ff_hang_up(&crowd[i]);
    }
    ff_hang_up(&known);
    ff_stop(&fx);
}

static void test_a_source_with_few_handshakes_overtakes_one_with_many(void **state)
{
    struct front_fixture fx;
    struct ff_client alone, crowd[CROWD];
    struct pollfd polled = {.events = POLLIN};
    size_t before;

    (void)state;
    ff_start(&fx, &(struct ff_options){.request_ms = FF_DEADLINE_MS});
    stop(&fx);
    for (size_t i = 0; i < CROWD; i++)
        ff_dial(&fx, &crowd[i], FF_OTHER, "127.0.0.1");
    ff_dial(&fx, &alone, FF_AGENT, "127.0.0.2");
    kill(fx.pid, SIGCONT);
    polled.fd = alone.fd;
    assert_int_equal(poll(&polled, 1, FF_DEADLINE_MS), 1);
    before = earlier(crowd, CROWD, &alone);
    printf("# %zu of %d handshakes of another source went on before\n", before, CROWD);
    assert_in_range(before, 0, FRONT_ORDER_FEW + (CROWD - FRONT_ORDER_FEW) / 2);
    for (size_t i = 0; i < CROWD; i++)
        ff_hang_up(&crowd[i]);
    ff_hang_up(&alone);
    ff_stop(&fx);
}

/* Head and body as two records are two writes, two segments, and two wakeups of the client. */
static void test_a_reply_is_one_record(void **state)
{
    struct front_fixture fx;
    struct ff_client client;
    size_t before;

    (void)state;
    ff_start(&fx, &(struct ff_options){.request_ms = FF_DEADLINE_MS});
    ff_dial(&fx, &client, FF_AGENT, NULL);
    ff_ask(&client, ff_get);
    assert_true(ff_finish(&fx, &client, 1, FF_DEADLINE_MS));
    before = client.records;
    ff_ask(&client, ff_get);
    assert_true(ff_finish(&fx, &client, 1, FF_DEADLINE_MS));
    assert_int_equal(ff_status(&client), 200);
    assert_int_equal(client.records, before + 1);
    ff_hang_up(&client);
    ff_stop(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_handshakes_come_after_what_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_handshakes_of_a_source_come_last, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_who_asks_much_waits_behind_handshakes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_later_steps_are_done_one_at_a_time, setup, teardown),
        cmocka_unit_test(test_a_request_overtakes_handshakes),
        cmocka_unit_test(test_a_source_with_few_handshakes_overtakes_one_with_many),
        cmocka_unit_test(test_a_reply_is_one_record),
    };

    if (secret_heap_init() != ESCROW_OK)
        return EXIT_FAILURE;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
