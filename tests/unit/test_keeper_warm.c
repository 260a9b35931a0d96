/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_member.h"
#include "escrowd/store_secrets.h"
#include "escrowd/tpm_jobs.h"
#include "libescrow/file.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "policy/policy.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/proxied_tpm.h"
#include "tests/unit/wall_clock.h"

#include <tss2/tss2_tpm2_types.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * What the keeper does at its TPM before anybody asks for a release, counted in the commands that
 * the TPM sees.
 */

#define RELEASE_COMMANDS 14
#define UNTIL_DUPLICATE 12 /* that one counted */
#define VERIFY_COMMANDS 3
#define NEWCOMERS 8 /* act keys of node-a's */
#define CROWD 200   /* the same: were there one place for each approval, some would have none */
#define SLOW_US 200000
#define VERSIONS 12 /* more than are imported in a second */
#define GROUPS 21   /* of as many databases as may be */
#define RELEASES 3  /* one more than the TPM's thread has */

static struct proxied_tpm tpm;
static char log_path[300]; /* of the keeper's */

/* In the keeper. */
static void write_log(void)
{
    int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        fx_fail(log_path, "cannot be written");
    close(fd);
    log_init("keeper", LOG_LEVEL_NOTICE);
}

static size_t count_log(const char *text)
{
    CLEANUP(cleanup_free) char *log = NULL;
    size_t len, count = 0;

    assert_int_equal(file_read(log_path, 1 << 20, &log, &len), ESCROW_OK);
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_commands(struct keeper_fixture *fx, size_t from, uint32_t command, size_t count)
{
    const int64_t deadline_ms = now_ms() + FX_DEADLINE_MS;

    while (proxied_count_of(&tpm, from, command) < count) {
        if (now_ms() >= deadline_ms)
            fx_fail("the TPM is not sent", "what it should be");
        fx_serve(fx, 20);
    }
}

/* No deadline passes while it stands still, so that a slow machine has time for what comes next. */
static void stop_tpm(const struct keeper_fixture *fx)
{
    boot_clock_hold();
    assert_int_equal(kill(fx->swtpm.pid, SIGSTOP), 0);
}

static void resume_tpm(const struct keeper_fixture *fx)
{
    assert_int_equal(kill(fx->swtpm.pid, SIGCONT), 0);
    boot_clock_go_on();
}

static void release(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);
    CLEANUP(secret_free_p) struct secret *password = NULL;

    if (!grant)
        fx_fail("refused", reason_code(fx->reply.reason));
    password = fx_open(grant, recipient);
    assert_memory_equal(password->bytes, FX_PASSWORD, password->len);
}

static void assert_release_takes(struct keeper_fixture *fx, enum fx_who who, size_t commands)
{
    const size_t before = proxied_count(&tpm);

    release(fx, who);
    assert_int_equal(proxied_count(&tpm) - before, commands);
}

/* Keys of further agents of node-a, which are in the roster that it publishes. */
static void enroll(struct keeper_fixture *fx, struct tpm_name *ret_names, size_t count)
{
    json_t *payload = fx_roster_payload(fx, 2);

    for (size_t i = 0; i < count; i++) {
        CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
        struct ec_point point;
        char identity[64];

        assert_int_equal(key_point(key, &point), ESCROW_OK);
        assert_int_equal(key_signer_name(&point, &ret_names[i]), ESCROW_OK);
        snprintf(identity, sizeof(identity), "spiffe://corp.example/newcomer-%zu", i);
        json_array_append_new(json_object_get(payload, "keys"),
                              json_pack("{s:s, s:s, s:o, s:[s], s:[s]}", "identity", identity,
                                        "role", "agent", "key", json_point(&point), "groups", "*",
                                        "instances", "node-a"));
    }
    assert_int_equal(fx_publish_roster(fx, payload, fx->authority), REASON_NONE);
}

/* Node approvals for these act keys, signed anew. */
static void approve(struct keeper_fixture *fx, const struct tpm_name *names, size_t count)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = PURPOSE_PUBLISH;
    act->publish.approvals = calloc(count, sizeof(struct approval));
    act->publish.approval_count = count;
    for (size_t i = 0; i < count; i++) {
        struct approval *approval = &act->publish.approvals[i];

        *approval = (struct approval){.kind = TPM_APPROVAL_NODE,
                                      .group = FX_GROUP,
                                      .counter = fx->counter,
                                      .epoch = fx->epoch,
                                      .act_key_count = 1,
                                      .act_keys = {names[i]}};
        assert_int_equal(approval_sign(fx->authority, approval), ESCROW_OK);
    }
    noted = fx_act(fx, FX_ADMIN, ROUTE_PUBLISH, act);
    assert_non_null(noted);
}

/* ---- tests ---- */

/* Of every agent, whoever asks first. */
static void test_first_release_after_a_start(void **state)
{
    struct keeper_fixture *fx = *state;

    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
    fx_set_primary(fx, 0);
    assert_release_takes(fx, FX_AGENT_A, RELEASE_COMMANDS);
    assert_int_equal(count_log("1 objects and the approvals of 2 act keys were made ready"), 1);
}

static void test_nothing_is_left_to_do(void **state)
{
    struct keeper_fixture *fx = *state;
    const size_t before = proxied_count(&tpm);
    const unsigned asked = fx->replicas[0].asked;

    /* The watch asks in each of the keeper's seconds. */
    while (fx->replicas[0].asked < asked + 3)
        fx_serve(fx, 100);
    assert_int_equal(proxied_count(&tpm), before);
    /* Another roster with the same agents makes nothing new. */
    assert_int_equal(fx_publish_roster(fx, fx_roster_payload(fx, 2), fx->authority), REASON_NONE);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count(&tpm), before);
}

static void test_deposit_and_approval(void **state)
{
    struct keeper_fixture *fx = *state;
    size_t before;

    fx_deposit(fx, FX_PASSWORD);
    fx_wait_warm(fx);
    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
    before = proxied_count(&tpm);
    approve(fx, &fx->actors[FX_AGENT_B].name, 1);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count(&tpm) - before, VERIFY_COMMANDS);
    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
    /* Nobody else's are touched: an admin's key, or one that is in no roster. */
    before = proxied_count(&tpm);
    approve(fx, &fx->actors[FX_ADMIN].name, 1);
    approve(fx, &fx->counter, 1);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count(&tpm), before);
}

/* Agents ask for the active version first, and that is there. */
static void test_a_pending_version(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_ADMIN, ACT_DEPOSIT, PURPOSE_DEPOSIT);
    CLEANUP(answer_free_p) struct answer *durable = NULL;
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(cleanup_free) char *body = NULL;
    const size_t before = proxied_count(&tpm);

    assert_non_null(challenge);
    act = fx_deposit_act(fx, challenge, FX_PASSWORD);
    act->deposit.state = SECRET_PENDING;
    body = fx_sign(fx, FX_ADMIN, challenge, act);
    durable = fx_finish(fx, FX_ADMIN, ROUTE_DEPOSIT, body, act);
    assert_non_null(durable);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count_of(&tpm, before, TPM2_CC_Import), 1);
    assert_int_equal(proxied_count_of(&tpm, before, TPM2_CC_Load), 0);
}

static void remove_store(struct keeper_fixture *fx)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[400];

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        snprintf(path, sizeof(path), "%s/%s%s", fx->config.state_folder, MEMBER_STORE, ends[i]);
        unlink(path);
    }
}

/* After the store was rebuilt: so many in a second, and the newest, which is wanted, comes last. */
static void test_imports(void **state)
{
    struct keeper_fixture *fx = *state;
    size_t before;

    for (unsigned i = 0; i < VERSIONS; i++)
        fx_deposit(fx, FX_PASSWORD);
    fx_shut_down(fx);
    remove_store(fx);
    before = proxied_count(&tpm);
    fx_run(fx);
    wait_commands(fx, before, TPM2_CC_Load, 1);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count_of(&tpm, before, TPM2_CC_Import), 1 + VERSIONS);
    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
}

static void test_many_approvals(void **state)
{
    struct keeper_fixture *fx = *state;
    static struct tpm_name names[CROWD];
    const size_t before = proxied_count(&tpm);

    enroll(fx, names, CROWD);
    approve(fx, names, CROWD);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count(&tpm) - before, CROWD * VERIFY_COMMANDS);
    /* All are looked at again, and only one has to be verified. */
    approve(fx, &fx->actors[FX_AGENT_B].name, 1);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count(&tpm) - before, (CROWD + 1) * VERIFY_COMMANDS);
}

/* A release of node-b's that is ready to be sent. */
static char *prepare(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(act_free_p) struct act *act = NULL;

    assert_non_null(challenge);
    act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    return fx_sign(fx, FX_AGENT_B, challenge, act);
}

/* The item that the TPM has goes before releases, no other does. */
static void test_a_release_waits_for_one_item(void **state)
{
    struct keeper_fixture *fx = *state;
    struct tpm_name names[NEWCOMERS];
    char *bodies[RELEASES];
    size_t before, last;

    enroll(fx, names, NEWCOMERS);
    for (size_t i = 0; i < RELEASES; i++)
        bodies[i] = prepare(fx);
    fx_wait_warm(fx);
    before = proxied_count(&tpm);
    stop_tpm(fx);
    approve(fx, names, NEWCOMERS);
    wait_commands(fx, before, TPM2_CC_LoadExternal, 1);
    for (unsigned i = 0; i < RELEASES; i++) {
        fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, bodies[i]);
        fx_wait_count(fx, "release", NULL, i + 1);
        free(bodies[i]);
    }
    resume_tpm(fx);
    wait_commands(fx, before, TPM2_CC_Duplicate, RELEASES);
    last = before;
    for (unsigned i = 0; i < RELEASES; i++)
        last = 1 + proxied_find(&tpm, last, TPM2_CC_Duplicate);
    assert_int_equal(last - before,
                     VERIFY_COMMANDS + (RELEASES - 1) * RELEASE_COMMANDS + UNTIL_DUPLICATE);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count(&tpm) - before,
                     NEWCOMERS * VERIFY_COMMANDS + RELEASES * RELEASE_COMMANDS);
}

/* What this TPM has of the database's object is another. */
static void damage(struct keeper_fixture *fx, const char *database)
{
    struct act_subject subject = {.group = FX_GROUP};
    CLEANUP(store_close_p) struct store *store = NULL;
    struct store_version version;
    char path[400];
    size_t count;

    snprintf(subject.database, sizeof(subject.database), "%s", database);
    snprintf(path, sizeof(path), "%s/%s", fx->config.state_folder, MEMBER_STORE);
    assert_int_equal(store_open(path, &store), ESCROW_OK);
    assert_int_equal(store_live_versions(store, &subject, &version, 1, &count), ESCROW_OK);
    assert_int_equal(count, 1);
    version.private_area.bytes[40] ^= 1;
    assert_int_equal(store_set_private(store, &version.object, &version.private_area), ESCROW_OK);
}

static void test_a_bad_object(void **state)
{
    struct keeper_fixture *fx = *state;
    const struct act_subject other = {FX_GROUP, "Other"};
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    size_t loads;

    fx->subject = &other;
    fx_deposit(fx, FX_PASSWORD);
    fx->subject = NULL;
    fx_shut_down(fx);
    damage(fx, FX_DATABASE);
    loads = proxied_count_of(&tpm, 0, TPM2_CC_Load);
    fx_run(fx);
    fx_wait_warm(fx);
    /* It was tried, and the next one is loaded. */
    assert_int_equal(proxied_count_of(&tpm, 0, TPM2_CC_Load) - loads, 2);
    assert_int_equal(count_log("for SSISDB of group ssis does not load"), 1);
    assert_int_equal(count_log("does not load"), 1);
    assert_false(fx_lacks(fx, REASON_TPM_UNAVAILABLE));
    /* Not again, whatever else is due. */
    swtpm_kill(&fx->swtpm);
    swtpm_restart(&fx->swtpm);
    wait_commands(fx, 0, TPM2_CC_Load, loads + 3);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count_of(&tpm, 0, TPM2_CC_Load) - loads, 3);
    assert_int_equal(count_log("does not load"), 1);
    assert_null(fx_release(fx, FX_AGENT_B, recipient));
    assert_int_equal(fx->reply.reason, REASON_TPM_REFUSED);
    assert_false(fx_lacks(fx, REASON_TPM_UNAVAILABLE));
    /* A newer version of it is. */
    fx_deposit(fx, FX_PASSWORD);
    fx_wait_warm(fx);
    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
}

/* Between two questions whether it is there. */
static void test_tpm_reset(void **state)
{
    struct keeper_fixture *fx = *state;
    const size_t before = proxied_count(&tpm);

    swtpm_kill(&fx->swtpm);
    swtpm_restart(&fx->swtpm);
    wait_commands(fx, before, TPM2_CC_ContextSave, 1);
    fx_wait_warm(fx);
    assert_false(fx_lacks(fx, REASON_TPM_UNAVAILABLE));
    /* Tickets outlast a reset. */
    assert_int_equal(proxied_count_of(&tpm, before, TPM2_CC_VerifySignature), 0);
    assert_int_equal(proxied_count_of(&tpm, before, TPM2_CC_Load), 1);
    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
}

static void lose_with_an_item(struct keeper_fixture *fx, size_t before)
{
    wait_commands(fx, before, TPM2_CC_LoadExternal, 1);
    boot_clock_go_on();
    swtpm_kill(&fx->swtpm);
    fx_wait_lacks(fx, REASON_TPM_UNAVAILABLE, true);
}

static void return_tpm(struct keeper_fixture *fx, unsigned command_us)
{
    proxied_stop(&tpm);
    proxied_start(&tpm, &fx->swtpm, command_us);
    swtpm_restart(&fx->swtpm);
}

/* It is tried again when the TPM is back. */
static void test_tpm_lost_with_an_item(void **state)
{
    struct keeper_fixture *fx = *state;
    struct tpm_name names[NEWCOMERS];
    size_t before;

    enroll(fx, names, NEWCOMERS);
    fx_wait_warm(fx);
    before = proxied_count(&tpm);
    stop_tpm(fx);
    approve(fx, names, 2);
    lose_with_an_item(fx, before);
    before = proxied_count(&tpm);
    return_tpm(fx, 0);
    fx_wait_lacks(fx, REASON_TPM_UNAVAILABLE, false);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count_of(&tpm, before, TPM2_CC_VerifySignature), 2);
    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
}

/* But not for ever: it may be the item's fault. */
static void test_tpm_lost_twice_with_an_item(void **state)
{
    struct keeper_fixture *fx = *state;
    struct tpm_name names[NEWCOMERS];
    size_t before;

    enroll(fx, names, NEWCOMERS);
    fx_wait_warm(fx);
    before = proxied_count(&tpm);
    stop_tpm(fx);
    approve(fx, names, 1);
    lose_with_an_item(fx, before);
    /* So slow that the item is seen to begin, and has not ended. */
    before = proxied_count(&tpm);
    return_tpm(fx, SLOW_US);
    lose_with_an_item(fx, before);
    before = proxied_count(&tpm);
    return_tpm(fx, 0);
    fx_wait_lacks(fx, REASON_TPM_UNAVAILABLE, false);
    fx_wait_warm(fx);
    assert_int_equal(proxied_count_of(&tpm, before, TPM2_CC_LoadExternal), 0);
    assert_release_takes(fx, FX_AGENT_B, RELEASE_COMMANDS);
}

/* No more than have places where they are kept. */
static void test_a_policy_of_many_databases(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(cleanup_free) char *lines = NULL;
    size_t len;
    FILE *out = open_memstream(&lines, &len);

    for (unsigned group = 0; group < GROUPS; group++) {
        fprintf(out, "  - name: g%u\n    availability_group: AG%u\n    databases: [D0", group,
                group);
        for (unsigned i = 1; i < POLICY_DATABASES_MAX; i++)
            fprintf(out, ", D%u", i);
        fputs("]\n    replicas:\n"
              "      - {instance: node-a, server_name: SQLA}\n"
              "      - {instance: node-b, server_name: SQLB}\n"
              "      - {instance: node-c, server_name: SQLC}\n",
              out);
    }
    assert_int_equal(fclose(out), 0);
    fx_run_with(fx, lines);
    /* Without a roster nothing of it can be done. */
    fx_tpm_commands(fx);
    assert_int_equal(fx->warm_up_left, 1 + GROUPS + TPM_PREPARED_MAX);
}

/* What it has begun it ends, and leaves nothing in the TPM. */
static void test_stopped_with_an_item(void **state)
{
    struct keeper_fixture *fx = *state;
    const size_t before = proxied_count(&tpm);

    stop_tpm(fx);
    approve(fx, &fx->actors[FX_AGENT_A].name, 1);
    wait_commands(fx, before, TPM2_CC_LoadExternal, 1);
    assert_int_equal(ipc_send(fx->supervisor_fd, IPC_SHUTDOWN, 0, NULL, 1000), ESCROW_OK);
    /* It has said nothing yet by which this could be seen: it is known to listen. */
    fx_ping(fx);
    resume_tpm(fx);
    fx->options.may_lose = true;
    while (fx->pid)
        fx_serve(fx, 100);
    fx->options.may_lose = false;
    assert_true(WIFEXITED(fx->exit_status));
    assert_int_equal(WEXITSTATUS(fx->exit_status), 0);
    fx_run(fx);
    fx_wait_warm(fx);
    assert_int_equal(count_log("that were left in the TPM"), 0);
}

/* ---- setup ---- */

static void begin(struct keeper_fixture *fx)
{
    fx_shut_down(fx);
    snprintf(log_path, sizeof(log_path), "%s/log", fx->folder);
    proxied_start(&tpm, &fx->swtpm, 0);
    fx->config.tpm.tcti = tpm.setting;
    fx->options.in_keeper = write_log;
    fx_run_with(fx, "    rival_wait: 0s\n    retries: 100\n");
    fx_wait_primary(fx, "node-a");
    fx_set_primary(fx, 1);
    fx_wait_warm(fx);
}

static int setup(void **state)
{
    fx_setup_ready(state);
    begin(*state);
    return 0;
}

static int setup_others(void **state)
{
    fx_setup_others(state);
    begin(*state);
    return 0;
}

static int teardown(void **state)
{
    struct keeper_fixture *fx = *state;

    resume_tpm(fx);
    fx_teardown(state);
    proxied_stop(&tpm);
    return 0;
}

#define TEST(test, setup) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_release_after_a_start, setup),
        TEST(test_nothing_is_left_to_do, setup),
        TEST(test_deposit_and_approval, setup),
        TEST(test_a_pending_version, setup),
        TEST(test_imports, setup),
        TEST(test_many_approvals, setup),
        TEST(test_a_release_waits_for_one_item, setup),
        TEST(test_a_bad_object, setup_others),
        TEST(test_tpm_reset, setup),
        TEST(test_tpm_lost_with_an_item, setup),
        TEST(test_tpm_lost_twice_with_an_item, setup),
        TEST(test_stopped_with_an_item, setup),
        cmocka_unit_test_setup_teardown(test_a_policy_of_many_databases, fx_setup, fx_teardown),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
