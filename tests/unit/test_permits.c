/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may say what to whom, tried whole: the supervisor to a role, the keeper to front, a prober
 * and the alerter to the keeper. Front to the keeper is in test_hostile_front.c, a role to the
 * supervisor in test_supervisor.c.
 */
#include "escrowd/front_exchange.h"
#include "escrowd/keeper_alerts.h"
#include "escrowd/keeper_probers.h"
#include "escrowd/role.h"
#include "libescrow/file.h"
#include "libescrow/log.h"
#include "policy/policy.h"
#include "tests/unit/permits.h"

#include <stdlib.h>

/* ---- the supervisor to a role ---- */

static struct role *role;

static void on_peer(const struct ipc_peer *peer, int fd, void *argument)
{
    (void)argument;
    assert_int_equal(peer->kind, IPC_PEER_PROBER);
    close(fd);
}

static void on_order(void *argument)
{
    (void)argument;
}

static void on_reload(int fd, void *argument)
{
    (void)argument;
    close(fd);
}

static const struct role_events as_keeper = {.on_peer = on_peer, .on_shutdown = on_order};
static const struct role_events as_front = {
    .on_peer = on_peer, .on_shutdown = on_order, .on_reload = on_reload};

static void open_keeper(struct event_base *base, int fd)
{
    assert_int_equal(role_new(base, fd, &as_keeper, NULL, &role), ESCROW_OK);
}

static void open_front(struct event_base *base, int fd)
{
    assert_int_equal(role_new(base, fd, &as_front, NULL, &role), ESCROW_OK);
}

static bool is_orphaned(void)
{
    return role_is_orphaned(role);
}

static void close_role(void)
{
    role_free(role);
}

static void fill_peer(struct ipc_writer *payload)
{
    ipc_put_peer(payload, &(struct ipc_peer){IPC_PEER_PROBER, "sql1"});
}

static void test_supervisor_to_role(void **state)
{
    static const struct permitted permitted[] = {
        {IPC_PEER, true, 0, fill_peer},
        {IPC_PING, false, 7, NULL},
        {IPC_SHUTDOWN, false, 0, NULL},
        {IPC_RELOAD, true, 0, NULL}, /* front only: the last */
    };
    const struct permits_subject front = {
        "supervisor to front", open_front, is_orphaned, close_role, permitted,
        ARRAY_LEN(permitted)};
    const struct permits_subject keeper = {
        "supervisor to keeper",  open_keeper, is_orphaned, close_role, permitted,
        ARRAY_LEN(permitted) - 1};

    (void)state;
    permits_exhaust(&front);
    permits_exhaust(&keeper);
}

/* ---- the keeper to front ---- */

static struct front_exchanges *exchanges;
static struct front_counts counts;
static bool is_broken;
static unsigned observed;

static void on_broken(void *argument)
{
    (void)argument;
    is_broken = true;
}

static enum escrow_err on_observed(const struct ipc_message *message, void *argument)
{
    (void)argument;
    observed += message != NULL;
    return ESCROW_OK;
}

static void open_exchanges(struct event_base *base, int fd)
{
    const struct front_exchanges_config config = {.base = base,
                                                  .counts = &counts,
                                                  .limit = 1,
                                                  .on_observed = on_observed,
                                                  .on_broken = on_broken};

    is_broken = false;
    observed = 0;
    assert_int_equal(front_exchanges_new(&config, &exchanges), ESCROW_OK);
    front_exchanges_connect(exchanges, fd);
}

static void open_observing(struct event_base *base, int fd)
{
    open_exchanges(base, fd);
    assert_true(front_exchanges_observe(exchanges));
}

static bool exchanges_broken(void)
{
    return is_broken;
}

static void close_exchanges(void)
{
    front_exchanges_free(exchanges);
}

/* Front has asked nothing, so there is nothing to be said. */
static void test_keeper_to_front(void **state)
{
    const struct permits_subject subject = {"keeper to front", open_exchanges, exchanges_broken,
                                            close_exchanges,   NULL,           0};

    (void)state;
    permits_exhaust(&subject);
}

/* One question, one answer. */
static void test_keeper_to_front_that_observes(void **state)
{
    static const struct permitted permitted[] = {{IPC_OBSERVED, false, 0, NULL}};
    const struct permits_subject subject = {"keeper to front that asked",
                                            open_observing,
                                            exchanges_broken,
                                            close_exchanges,
                                            permitted,
                                            1};

    (void)state;
    permits_exhaust(&subject);
}

static void test_an_answer_twice(void **state)
{
    const struct ipc_header header = {.type = IPC_OBSERVED};
    struct event_base *base = event_base_new();
    int fds[2];

    (void)state;
    assert_int_equal(ipc_pair(fds), ESCROW_OK);
    open_observing(base, fds[0]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ipc_try_send(fds[1], &header, NULL, -1), ESCROW_OK);
    for (int i = 0; i < 5; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(observed, 1);
    assert_true(is_broken);
    close_exchanges();
    close(fds[1]);
    event_base_free(base);
}

/* ---- a prober to the keeper ---- */

static struct policy *policy;
static struct probers *probers;
static unsigned overdue, answers;
static bool is_other;             /* a prober that did nothing was given up */
static enum ipc_probe_type asked; /* 0: nothing */

static void on_overdue(const char *instance, void *argument)
{
    (void)argument;
    is_other |= strcmp(instance, "node-a") != 0;
    overdue++;
}

static void on_answer(const struct prober_answer *answer, void *argument)
{
    (void)argument;
    answers += answer->state || answer->session || answer->states;
}

static void open_probers(struct event_base *base, int fd)
{
    const struct probers_config config = {.base = base, .policy = policy, .on_overdue = on_overdue};
    const struct prober_ask ask = {.instance = "node-a",
                                   .asker = "",
                                   .type = asked,
                                   .question = {.login = "agent", .count = 1},
                                   .on_answer = on_answer};
    uint64_t id;

    overdue = answers = 0;
    is_other = false;
    assert_int_equal(probers_new(&config, &probers), ESCROW_OK);
    probers_attach(probers, "node-a", fd);
    if (!asked)
        return;
    assert_int_equal(probers_ask(probers, &ask, &id), ESCROW_OK);
    assert_int_equal(id, 1);
}

static bool prober_given_up(void)
{
    assert_int_equal(answers + overdue, 1);
    assert_false(is_other);
    return overdue == 1;
}

static void close_probers(void)
{
    probers_free(probers);
}

static void fill_state(struct ipc_writer *payload)
{
    ipc_put_probe_state(payload, &(struct probe_state){.outcome = PROBE_ANSWERED});
}

static void fill_session(struct ipc_writer *payload)
{
    ipc_put_probe_session(payload, &(struct ipc_probe_session){PROBE_ANSWERED, true});
}

static void fill_states(struct ipc_writer *payload)
{
    CLEANUP(cleanup_free)
    struct ipc_probe_states *states = calloc(1, sizeof(*states) + sizeof(states->items[0]));

    assert_non_null(states);
    states->count = 1;
    states->items[0].outcome = PROBE_ANSWERED;
    ipc_put_probe_states(payload, states);
}

static void test_prober_to_keeper(void **state)
{
    static const struct permitted to_state[] = {{IPC_PROBE_STATE, false, 1, fill_state}};
    static const struct permitted to_states[] = {{IPC_PROBE_STATES, false, 1, fill_states}};
    static const struct permitted to_session[] = {{IPC_PROBE_SESSION, false, 1, fill_session}};
    struct permits_subject subject = {"prober to keeper", open_probers, prober_given_up,
                                      close_probers,      NULL,         0};

    (void)state;
    asked = 0;
    permits_exhaust(&subject);
    subject.count = 1;
    subject.permitted = to_state;
    asked = IPC_PROBE_ASK_STATE;
    permits_exhaust(&subject);
    subject.permitted = to_states;
    asked = IPC_PROBE_ASK_STATES;
    permits_exhaust(&subject);
    subject.permitted = to_session;
    asked = IPC_PROBE_ASK_SESSION;
    permits_exhaust(&subject);
}

/* One that closed its channel, or never had one, is started again; not at once, and not always. */
static void test_prober_without_a_channel(void **state)
{
    const struct probers_config config = {.policy = policy, .on_overdue = on_overdue};

    (void)state;
    overdue = 0;
    assert_int_equal(probers_new(&config, &probers), ESCROW_OK);
    probers_check(probers, 10000);
    assert_int_equal(overdue, 0);
    probers_check(probers, 0);
    assert_int_equal(overdue, 2);
    probers_check(probers, 10000);
    assert_int_equal(overdue, 2); /* each of the two */
    probers_free(probers);
}

/* ---- the alerter to the keeper ---- */

static struct keeper_alerts *alerts;

static void on_alerter_overdue(void *argument)
{
    (void)argument;
    overdue++;
}

static void open_alerts(struct event_base *base, int fd)
{
    const struct keeper_alerts_config config = {
        .base = base, .member = "a", .timeout_ms = 1000, .on_overdue = on_alerter_overdue};

    overdue = 0;
    assert_int_equal(keeper_alerts_new(&config, &alerts), ESCROW_OK);
    keeper_alerts_attach(alerts, fd);
}

/* One alert is with the alerter. */
static void open_asked(struct event_base *base, int fd)
{
    open_alerts(base, fd);
    keeper_alerts_record(alerts, &(struct audit_record){.event = AUDIT_LOG_BACK, .sequence = 1});
}

static bool alerter_given_up(void)
{
    return overdue == 1;
}

static void close_alerts(void)
{
    keeper_alerts_free(alerts);
}

static void fill_done(struct ipc_writer *payload)
{
    ipc_put_alert_done(payload, &(struct ipc_alert_done){IPC_ALERT_FAILED, 3});
}

static void fill_done_of_nothing(struct ipc_writer *payload)
{
    ipc_put_alert_done(payload, &(struct ipc_alert_done){IPC_ALERT_DELIVERED + 1, 0});
}

static void fill_done_beyond(struct ipc_writer *payload)
{
    ipc_put_alert_done(payload, &(struct ipc_alert_done){IPC_ALERT_FAILED, 256});
}

static void test_alerter_to_keeper(void **state)
{
    static const struct permitted done[] = {{IPC_ALERT_DONE, false, 1, fill_done}};
    struct permits_subject subject = {"alerter to keeper", open_alerts, alerter_given_up,
                                      close_alerts,        NULL,        0};

    (void)state;
    permits_exhaust(&subject);
    subject.open = open_asked;
    subject.permitted = done;
    subject.count = 1;
    permits_exhaust(&subject);
}

/* Another id, another outcome, another number than there can be; and an answer twice. */
static void test_answers_that_are_none(void **state)
{
    static const struct permitted wrong[] = {
        {IPC_ALERT_DONE, false, 2, fill_done},
        {IPC_ALERT_DONE, false, 0, fill_done},
        {IPC_ALERT_DONE, false, 1, fill_done_of_nothing},
        {IPC_ALERT_DONE, false, 1, fill_done_beyond},
        {IPC_ALERT_DONE, false, 1, NULL},
    };
    struct event_base *base = event_base_new();

    (void)state;
    for (size_t i = 0; i <= ARRAY_LEN(wrong); i++) {
        const struct permitted *message =
            i < ARRAY_LEN(wrong) ? &wrong[i]
                                 : &(struct permitted){IPC_ALERT_DONE, false, 1, fill_done};
        CLEANUP(ipc_writer_deinit) struct ipc_writer payload = {0};
        int fds[2], times = i < ARRAY_LEN(wrong) ? 1 : 2;

        assert_int_equal(ipc_pair(fds), ESCROW_OK);
        open_asked(base, fds[0]);
        if (message->fill)
            message->fill(&payload);
        for (int j = 0; j < times; j++)
            assert_int_equal(ipc_send(fds[1], message->type, message->id, &payload, 1000),
                             ESCROW_OK);
        for (int j = 0; j < 5; j++)
            event_base_loop(base, EVLOOP_NONBLOCK);
        assert_true(alerter_given_up());
        close_alerts();
        close(fds[1]);
    }
    event_base_free(base);
}

/* One that does not answer, and one that closed its channel, are started again. */
static void test_alerter_that_is_overdue(void **state)
{
    struct event_base *base = event_base_new();
    int fds[2];

    (void)state;
    assert_int_equal(ipc_pair(fds), ESCROW_OK);
    open_asked(base, fds[0]);
    keeper_alerts_tick(alerts, 60000);
    assert_int_equal(overdue, 0);
    keeper_alerts_tick(alerts, -1000);
    assert_int_equal(overdue, 1);
    keeper_alerts_tick(alerts, 60000);
    assert_int_equal(overdue, 1);
    keeper_alerts_tick(alerts, 0);
    assert_int_equal(overdue, 2);
    close_alerts();
    close(fds[1]);
    event_base_free(base);
}

static int load_policy(void **state)
{
    static const char text[] = "groups:\n"
                               "  - name: ssis\n"
                               "    availability_group: AG\n"
                               "    databases: [SSISDB]\n"
                               "    replicas:\n"
                               "      - {instance: node-a, server_name: SQLA}\n"
                               "      - {instance: node-b, server_name: SQLB}\n";
    CLEANUP(config_report_deinit) struct config_report report = {0};
    const char *folder = getenv("TMPDIR");
    char path[300], file[310];
    enum escrow_err err;

    (void)state;
    log_init("test", LOG_LEVEL_ERROR - 1);
    snprintf(path, sizeof(path), "%.200s/permits.XXXXXX", folder ? folder : "/tmp");
    if (!mkdtemp(path))
        return 1;
    snprintf(file, sizeof(file), "%s/policy", path);
    err = file_create(file, 0600, text, sizeof(text) - 1);
    if (!err)
        err = policy_load(file, &report, &policy);
    unlink(file);
    rmdir(path);
    return err ? 1 : 0;
}

static int free_policy(void **state)
{
    (void)state;
    policy_free(policy);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supervisor_to_role),
        cmocka_unit_test(test_keeper_to_front),
        cmocka_unit_test(test_keeper_to_front_that_observes),
        cmocka_unit_test(test_an_answer_twice),
        cmocka_unit_test(test_prober_to_keeper),
        cmocka_unit_test(test_prober_without_a_channel),
        cmocka_unit_test(test_alerter_to_keeper),
        cmocka_unit_test(test_answers_that_are_none),
        cmocka_unit_test(test_alerter_that_is_overdue),
    };

    return cmocka_run_group_tests(tests, load_policy, free_policy);
}
