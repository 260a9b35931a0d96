/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/denials.h"
#include "escrowd/refusals.h"
#include "libescrow/file.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/wall_clock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * Who is denied asks again as fast as he can, and who is not goes away or sends receipts: what the
 * log has of it. node-a is primary at first, and node-b's agent asks.
 */

/* The reason of the denial. */
static enum reason denied(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = fx_release(fx, who, recipient);

    assert_null(grant);
    return fx->reply.reason;
}

static enum reason rebaseline(struct keeper_fixture *fx, const char *replica)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_REBASELINE);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = PURPOSE_REBASELINE;
    memcpy(act->rebaseline.replica, replica, strlen(replica) + 1);
    noted = fx_act(fx, FX_ADMIN, ROUTE_REBASELINE, act);
    return noted ? REASON_NONE : fx->reply.reason;
}

/* A signed request that is refused without any question, as often as there are records of that for
 * this identity in a minute. */
static void use_up_quota(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, who, ACT_RECEIPT, PURPOSE_PROMOTE);
    CLEANUP(act_free_p) struct act *act = act_new(ACT_RECEIPT);
    CLEANUP(cleanup_free) char *body = NULL;

    act->purpose = PURPOSE_PROMOTE;
    memcpy(act->receipt.replica, "node-a", sizeof("node-a"));
    act->receipt.grant = 1;
    act->receipt.outcome = OUTCOME_FAILED;
    body = fx_sign(fx, who, challenge, act);
    for (int i = 0; i < REFUSALS_QUOTA; i++)
        assert_int_equal(fx_reason(fx, ROUTE_ORDER, who, body), REASON_ACT_MISMATCH);
}

/* The first record of this event and reason, borrowed from the log. */
static const json_t *find(const json_t *records, const char *event, const char *reason)
{
    const json_t *record;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)records, i, record)
    {
        const char *found = json_string_value(json_object_get(record, "reason"));

        if (strcmp(json_string_value(json_object_get(record, "event")), event) == 0 && found &&
            strcmp(found, reason) == 0)
            return record;
    }
    fail_msg("no %s with the reason %s", event, reason);
    return NULL;
}

/* So many denials without a record are told of, as like the first one that has one. */
static void assert_repeated(struct keeper_fixture *fx, const char *event, const char *reason,
                            int count)
{
    static const char *const same[] = {"actor",   "key",   "group",    "database", "replica",
                                       "purpose", "epoch", "decision", "reason",   "auth"};
    CLEANUP(json_free_p) json_t *records = fx_log(fx);
    const json_t *like = find(records, event, reason);
    const json_t *repeated = find(records, "repeated", reason);
    const json_t *detail = json_object_get(repeated, "detail");

    assert_int_equal(json_integer_value(json_object_get(detail, "count")), count);
    assert_true(json_equal(json_object_get(detail, "record"), json_object_get(like, "sequence")));
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        assert_true(json_equal(json_object_get(repeated, same[i]), json_object_get(like, same[i])));
    assert_true(json_is_null(json_object_get(repeated, "facts")));
}

static void test_flood_of_denials(void **state)
{
    struct keeper_fixture *fx = *state;

    /* As an honest agent tries again: each with what it rested on. */
    for (int i = 0; i < 3; i++)
        assert_int_equal(denied(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(fx_count(fx, "release", "candidate_not_primary"), 3);
    use_up_quota(fx, FX_AGENT_B);
    for (int i = 0; i < 9; i++)
        assert_int_equal(denied(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(fx_count(fx, "release", "candidate_not_primary"), 3);
    assert_int_equal(fx_count(fx, "refusal", NULL), REFUSALS_QUOTA - 2);
    assert_int_equal(fx_count(fx, "repeated", NULL), 0);
    fx_shut_down(fx);
    fx_run(fx);
    assert_int_equal(fx_count(fx, "repeated", NULL), 1);
    assert_repeated(fx, "release", "candidate_not_primary", 9);
}

/* The quota is used up: what is denied for the first time has its record all the same, and so has
 * whatever is no denial. */
static void test_each_kind_is_recorded(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    use_up_quota(fx, FX_AGENT_B);
    for (int i = 0; i < 3; i++)
        assert_int_equal(denied(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(fx_count(fx, "release", "candidate_not_primary"), 1);
    fx->replicas[1].state.outcome = PROBE_REFUSED;
    for (int i = 0; i < 3; i++)
        assert_int_equal(denied(fx, FX_AGENT_B), REASON_CANDIDATE_UNREACHABLE);
    assert_int_equal(fx_count(fx, "release", "candidate_unreachable"), 1);
    /* Another identity. */
    fx_set_primary(fx, 2);
    assert_int_equal(denied(fx, FX_AGENT_A), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(denied(fx, FX_AGENT_A), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(fx_count(fx, "release", "candidate_not_primary"), 3);
    /* Another epoch. */
    fx_wait_primary(fx, "node-c");
    assert_int_equal(denied(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(denied(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(fx_count(fx, "release", "candidate_not_primary"), 4);
    fx_set_primary(fx, 1);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
    assert_int_equal(fx_count(fx, "release", "promotion"), 1);
}

/* An admin's rebaselines that are denied are so too. */
static void test_rebaselines(void **state)
{
    struct keeper_fixture *fx = *state;

    use_up_quota(fx, FX_ADMIN);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rebaseline(fx, "node-b"), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(rebaseline(fx, "node-a"), REASON_NONE);
    assert_int_equal(fx_count(fx, "rebaseline", "candidate_not_primary"), 1);
    fx_shut_down(fx);
    fx_run(fx);
    assert_repeated(fx, "rebaseline", "candidate_not_primary", 4);
}

/* ---- a log that cannot be written ---- */

#define SEGMENT "00000000000000000001.jsonl"

static char lines_path[400]; /* what the keeper tells its operator */

static void write_lines(void)
{
    int fd = open(lines_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        abort();
    log_init("keeper", LOG_LEVEL_WARNING);
}

static bool has_line(const char *text)
{
    CLEANUP(cleanup_free) char *lines = NULL;
    size_t len;

    assert_int_equal(file_read(lines_path, 1 << 20, &lines, &len), ESCROW_OK);
    return strstr(lines, text) != NULL;
}

static unsigned rounds_awaited;

static bool are_rounds_over(struct keeper_fixture *fx)
{
    return fx->replicas[2].asked >= rounds_awaited;
}

/* What was counted waits without a word, one for each kind and second otherwise, until the log can
 * have it. */
static void test_summary_waits_for_the_log(void **state)
{
    struct keeper_fixture *fx = *state;
    char path[400], aside[400];

    snprintf(lines_path, sizeof(lines_path), "%s/lines", fx->folder);
    snprintf(path, sizeof(path), "%s/" SEGMENT, fx->config.audit_folder);
    snprintf(aside, sizeof(aside), "%s/aside", fx->config.audit_folder);
    fx_shut_down(fx);
    fx->options.in_keeper = write_lines;
    fx_run(fx);
    fx_wait_primary(fx, "node-a");
    use_up_quota(fx, FX_AGENT_B);
    for (int i = 0; i < 2; i++)
        assert_int_equal(denied(fx, FX_AGENT_B), REASON_CANDIDATE_NOT_PRIMARY);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(denied(fx, FX_AGENT_A), REASON_LOG_UNAVAILABLE);
    /* A question that is open when the clock jumps makes the prober one that is overdue. */
    fx->options.may_lose = true;
    boot_clock_move(DENIALS_MINUTE_MS + 1000);
    rounds_awaited = fx->replicas[2].asked + 4;
    fx_until(fx, are_rounds_over);
    assert_true(has_line("log"));
    assert_false(has_line("denials were like"));
    assert_int_equal(rename(aside, path), 0);
    fx_wait_count(fx, "repeated", "candidate_not_primary", 1);
    assert_repeated(fx, "release", "candidate_not_primary", 1);
}

/* ---- what is granted ---- */

static unsigned releases_awaited;

static bool is_recorded(struct keeper_fixture *fx)
{
    return fx_count(fx, "release", NULL) >= releases_awaited;
}

/* Asks, and is gone when the grant is on record and the TPM has not begun. */
static void go_away(struct keeper_fixture *fx)
{
    CLEANUP(answer_free_p)
    struct answer *challenge = fx_challenge(fx, FX_AGENT_B, ACT_RELEASE, PURPOSE_PROMOTE);
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(act_free_p) struct act *act = fx_release_act(fx, FX_AGENT_B, challenge, recipient);
    CLEANUP(cleanup_free) char *body = fx_sign(fx, FX_AGENT_B, challenge, act);
    unsigned unfinished = fx_count(fx, "unfinished", "role_down");
    uint64_t id;

    releases_awaited = fx_count(fx, "release", NULL) + 1;
    boot_clock_hold(); /* before the TPM's deadline, however slow the machine is */
    assert_int_equal(kill(fx->swtpm.pid, SIGSTOP), 0);
    id = fx_send(fx, ROUTE_RELEASE, fx->actors[FX_AGENT_B].identity, body);
    fx_until(fx, is_recorded);
    assert_int_equal(ipc_send(fx->front_fd, IPC_GONE, id, NULL, 1000), ESCROW_OK);
    assert_int_equal(kill(fx->swtpm.pid, SIGCONT), 0);
    boot_clock_go_on();
    fx_wait_count(fx, "unfinished", "role_down", unfinished + 1);
}

/* It counts for neither brake nor retries, because nothing was let out. */
static void test_grants_that_are_not_fetched(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;

    fx_set_primary(fx, 1);
    for (int i = 0; i < 10; i++)
        go_away(fx);
    assert_int_equal(denied(fx, FX_AGENT_B), REASON_OVERLOADED);
    assert_int_equal(fx_count(fx, "release", NULL), 10);
    assert_int_equal(fx_count(fx, "refusal", "overloaded"), 1);
    /* The next keeper knows of them too; a minute later it is served. */
    fx_kill(fx);
    fx_run(fx);
    fx_wait_primary(fx, "node-b");
    assert_int_equal(denied(fx, FX_AGENT_B), REASON_OVERLOADED);
    wall_clock_move(62000);
    grant = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(grant);
}

static enum reason receipt(struct keeper_fixture *fx, uint64_t grant)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_RECEIPT);
    CLEANUP(answer_free_p) struct answer *noted = NULL;

    act->purpose = PURPOSE_PROMOTE;
    memcpy(act->receipt.replica, "node-b", sizeof("node-b"));
    act->receipt.grant = grant;
    act->receipt.outcome = OUTCOME_FAILED;
    noted = fx_act(fx, FX_AGENT_B, ROUTE_RECEIPT, act);
    return noted ? REASON_NONE : fx->reply.reason;
}

/* The first of each grant is always recorded. */
static void test_flood_of_receipts(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *first = NULL, *second = NULL;

    fx_set_primary(fx, 1);
    first = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(first);
    for (int i = 0; i < 3; i++)
        assert_int_equal(receipt(fx, first->sequence), REASON_NONE);
    use_up_quota(fx, FX_AGENT_B);
    for (int i = 0; i < 5; i++)
        assert_int_equal(receipt(fx, first->sequence), REASON_OVERLOADED);
    assert_int_equal(fx_count(fx, "receipt", NULL), 3);
    assert_int_equal(fx_count(fx, "refusal", NULL), REFUSALS_QUOTA - 2);
    second = fx_release(fx, FX_AGENT_B, recipient);
    assert_non_null(second);
    assert_int_equal(receipt(fx, second->sequence), REASON_NONE);
    assert_int_equal(receipt(fx, second->sequence), REASON_OVERLOADED);
}

static int set_up_clock(void **state)
{
    wall_clock_move(0);
    boot_clock_move(0);
    return fx_setup_ready(state);
}

#define READY(test) cmocka_unit_test_setup_teardown(test, fx_setup_ready, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY(test_flood_of_denials),
        READY(test_each_kind_is_recorded),
        READY(test_rebaselines),
        cmocka_unit_test_setup_teardown(test_summary_waits_for_the_log, set_up_clock, fx_teardown),
        cmocka_unit_test_setup_teardown(test_grants_that_are_not_fetched, set_up_clock,
                                        fx_teardown),
        cmocka_unit_test_setup_teardown(test_flood_of_receipts, set_up_clock, fx_teardown),
    };

    wall_clock_share();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
