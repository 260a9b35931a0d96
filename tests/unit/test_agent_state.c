/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_state.h"
#include "libescrow/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define POLL_MS 1000
#define RECHECK_MS 60000

enum event {
    NOTHING,     /* only time passes */
    PROBER_UP,   /* the prober started */
    PROBER_DOWN, /* and ended */
    PRIMARY,     /* answers to AGENT_ASK_LOCAL */
    READ_ONLY_PRIMARY,
    SECONDARY,
    RESOLVING,
    UNREACHABLE,
    BAD_LOGIN,
    OPENS, /* answers to AGENT_ASK_OPENS */
    DOES_NOT_OPEN,
    NO_CERTIFICATE,
    CANNOT_TELL,
    WORKED, /* ends of AGENT_START_WORKER */
    SILENT,
    DENIED,
    WORKER_BAD_LOGIN,
    READY_ENDED, /* ends of AGENT_READY_WORKER without AGENT_START_WORKER */
    READY_BAD_LOGIN,
    NOTIFY,
    NEW_FILES, /* of the workers */
    NEW_LOGIN,
    HELD, /* too many others work */
    LET_GO,
};

/* What happens at a moment, and what the agent does next. A wait is until from ..= to. */
struct row {
    int64_t at_ms;
    enum event event;
    enum agent_step step;
    int64_t from_ms, to_ms;
};

static void answer_local(struct agent_state *state, enum event event, int64_t now_ms)
{
    struct probe_state answer = {.outcome = PROBE_ANSWERED};

    answer.role = event == PRIMARY || event == READ_ONLY_PRIMARY ? 1 : event == SECONDARY ? 2 : 0;
    answer.is_read_write = event == PRIMARY;
    if (event == UNREACHABLE)
        answer.outcome = PROBE_UNREACHABLE;
    if (event == BAD_LOGIN)
        answer.outcome = PROBE_LOGIN_REFUSED;
    agent_state_on_local(state, &answer, now_ms);
}

static void end_worker(struct agent_state *state, enum event event, int64_t now_ms)
{
    struct worker_result result = {.outcome = WORKER_OPENED};

    if (event == SILENT)
        result.outcome = WORKER_UNAVAILABLE;
    if (event == WORKER_BAD_LOGIN)
        result.outcome = WORKER_LOGIN_REFUSED;
    if (event == DENIED) {
        result.outcome = WORKER_DENIED;
        result.reason = REASON_GRANTED_TO_OTHER;
    }
    agent_state_on_worker(state, &result, now_ms);
}

static void end_ready(struct agent_state *state, enum event event, int64_t now_ms)
{
    const struct worker_result result = {
        .outcome = event == READY_BAD_LOGIN ? WORKER_LOGIN_REFUSED : WORKER_SQL_UNREACHABLE};

    agent_state_on_ready_ended(state, &result, now_ms);
}

static void apply(struct agent_state *state, enum event event, int64_t now_ms)
{
    switch (event) {
    case NOTHING:
        break;
    case PROBER_UP:
    case PROBER_DOWN:
        agent_state_on_prober(state, event == PROBER_UP, now_ms);
        break;
    case PRIMARY:
    case READ_ONLY_PRIMARY:
    case SECONDARY:
    case RESOLVING:
    case UNREACHABLE:
    case BAD_LOGIN:
        answer_local(state, event, now_ms);
        break;
    case OPENS:
        agent_state_on_opens(state, PROBE_OPENS_YES, now_ms);
        break;
    case DOES_NOT_OPEN:
        agent_state_on_opens(state, PROBE_OPENS_NO, now_ms);
        break;
    case NO_CERTIFICATE:
        agent_state_on_opens(state, PROBE_OPENS_NO_CERTIFICATE, now_ms);
        break;
    case CANNOT_TELL:
        agent_state_on_opens(state, PROBE_OPENS_UNKNOWN, now_ms);
        break;
    case WORKED:
    case SILENT:
    case DENIED:
    case WORKER_BAD_LOGIN:
        end_worker(state, event, now_ms);
        break;
    case READY_ENDED:
    case READY_BAD_LOGIN:
        end_ready(state, event, now_ms);
        break;
    case NOTIFY:
        agent_state_on_notify(state, now_ms);
        break;
    case HELD:
    case LET_GO:
        agent_state_hold(state, event == HELD);
        break;
    case NEW_FILES:
    case NEW_LOGIN:
        agent_state_on_files(state, event == NEW_LOGIN, now_ms);
        break;
    }
}

static void run(struct agent_state *state, const struct row *rows, size_t count)
{
    static struct agent_login login;

    login = (struct agent_login){0};
    agent_state_init(state, &login, POLL_MS, RECHECK_MS, 7, rows[0].at_ms);
    for (size_t i = 0; i < count; i++) {
        struct agent_next next;

        apply(state, rows[i].event, rows[i].at_ms);
        next = agent_state_next(state, rows[i].at_ms);
        if (next.step != rows[i].step)
            fail_msg("row %zu: step %d, not %d", i, (int)next.step, (int)rows[i].step);
        if (next.step == AGENT_WAIT &&
            (next.until_ms < rows[i].from_ms || next.until_ms > rows[i].to_ms))
            fail_msg("row %zu: waits until %lld", i, (long long)next.until_ms);
    }
}

#define RUN(state, rows) run(state, rows, ARRAY_LEN(rows))
#define NEVER INT64_MAX, INT64_MAX

/* The whole life of a promotion, from a secondary to the confirmed master key. */
static void test_promotion(void **state)
{
    static const struct row rows[] = {
        {0, NOTHING, AGENT_WAIT, NEVER}, /* no prober yet */
        {5, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {6, NOTHING, AGENT_WAIT, NEVER}, /* one question at a time */
        {10, SECONDARY, AGENT_WAIT, 1010, 1010},
        {1010, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1012, RESOLVING, AGENT_READY_WORKER, 0, 0},
        {1013, NOTHING, AGENT_WAIT, 2012, 2012},
        {2012, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {2014, READ_ONLY_PRIMARY, AGENT_WAIT, 3014, 3014},
        {3014, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {3016, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {3017, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {3018, NOTHING, AGENT_WAIT, 4016, 4016}, /* and goes on asking for the role */
        {3300, WORKED, AGENT_ASK_OPENS, 0, 0},
        {3301, OPENS, AGENT_WAIT, 4016, 4016},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
    assert_int_equal(agent.attempts, 0);
}

static void test_opens_already(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {10, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {20, OPENS, AGENT_WAIT, 1010, 1010},
        {1010, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1020, PRIMARY, AGENT_WAIT, 2020, 2020},
        {60020, NOTHING, AGENT_ASK_OPENS, 0, 0}, /* every 60 s, and it may be closed by then */
        {60021, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

static void test_failures_are_spaced(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {0, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {0, SILENT, AGENT_WAIT, 200, 250},
        {250, NOTHING, AGENT_ASK_OPENS, 0, 0}, /* somebody may have opened it meanwhile */
        {250, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {250, SILENT, AGENT_WAIT, 650, 750},
        {750, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {750, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {750, SILENT, AGENT_WAIT, 1000, 1000}, /* the role, first */
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
    assert_in_range(agent.worker_not_before_ms, 750 + 800, 750 + 1000);
}

static void test_role_change_retries_at_once(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {0, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {0, DENIED, AGENT_WAIT, 1000, 1000},
        {1000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1000, SECONDARY, AGENT_WAIT, 2000, 2000},
        {2000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {2000, PRIMARY, AGENT_READY_WORKER, 0, 0},
        {2000, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {2000, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        /* There and back under the worker: its refusal was about another promotion. */
        {3000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {3000, SECONDARY, AGENT_WAIT, 4000, 4000},
        {4000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {4000, PRIMARY, AGENT_WAIT, 5000, 5000},
        {4100, DENIED, AGENT_READY_WORKER, 0, 0},
        {4100, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {4100, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

/* A restart of the instance, or a lost connection, is no promotion: the spacing holds. */
static void test_silence_is_no_role_change(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},         {0, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {0, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},  {0, DENIED, AGENT_WAIT, 1000, 1000},
        {1000, NOTHING, AGENT_ASK_LOCAL, 0, 0},        {1000, UNREACHABLE, AGENT_WAIT, 2000, 2000},
        {2000, NOTHING, AGENT_ASK_LOCAL, 0, 0},        {2000, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {2000, DOES_NOT_OPEN, AGENT_WAIT, 3000, 3000}, {2500, PROBER_DOWN, AGENT_WAIT, NEVER},
        {2600, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},      {2600, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {2600, CANNOT_TELL, AGENT_ASK_LOCAL, 0, 0}, /* why can it not? */
        {2600, PRIMARY, AGENT_WAIT, 3600, 3600},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
    assert_in_range(agent.worker_not_before_ms, 5000, 6250);
}

static void test_refused_login_holds_everything_back(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, BAD_LOGIN, AGENT_WAIT, 30000, 37500},
        {1000, NOTIFY, AGENT_WAIT, 30000, 37500}, /* whoever asks */
        {2000, PROBER_DOWN, AGENT_WAIT, NEVER},
        {2000, PROBER_UP, AGENT_WAIT, 30000, 37500},
        {37500, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {37500, BAD_LOGIN, AGENT_WAIT, 97500, 112500},
        {112500, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {112500, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {112500, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        /* The prober's open connection goes on answering; only the worker logs in anew. */
        {112500, WORKER_BAD_LOGIN, AGENT_WAIT, 232500, 262500},
        {262500, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {262500, OPENS, AGENT_ASK_LOCAL, 0, 0},
        {262500, BAD_LOGIN, AGENT_WAIT, 292500, 300000},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

static void test_notify_ends_the_spacing(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {0, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {0, DENIED, AGENT_WAIT, 1000, 1000},
        {500, NOTIFY, AGENT_ASK_OPENS, 0, 0},
        {500, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

/* A question or a worker that is out may have begun before what the caller knows of. */
static void test_notify_while_something_is_out(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {10, NOTIFY, AGENT_WAIT, NEVER},
        {20, SECONDARY, AGENT_ASK_LOCAL, 0, 0},
        {20, PRIMARY, AGENT_READY_WORKER, 0, 0},
        {20, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {30, NOTIFY, AGENT_WAIT, NEVER},
        {40, OPENS, AGENT_DISMISS_WORKER, 0, 0},
        {40, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {40, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {40, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {40, PRIMARY, AGENT_WAIT, 1040, 1040},
        {50, NOTIFY, AGENT_WAIT, 1040, 1040},
        {60, DENIED, AGENT_ASK_OPENS, 0, 0},
        {60, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {60, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {60, PRIMARY, AGENT_WAIT, 1060, 1060},
        {70, DENIED, AGENT_WAIT, 1060, 1060}, /* one notice, one attempt */
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

static void test_no_certificate(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {0, NO_CERTIFICATE, AGENT_WAIT, 1000, 1000}, /* nothing could be proved: no worker */
        {1000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1000, PRIMARY, AGENT_WAIT, 2000, 2000},
        {60000, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {60000, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

static void test_demoted_while_asked(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {10, PROBER_DOWN, AGENT_WAIT, NEVER},
        {10, DOES_NOT_OPEN, AGENT_WAIT, NEVER}, /* an answer from before: worth nothing */
        {20, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {20, SECONDARY, AGENT_WAIT, 1020, 1020},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

static void fail_worker(struct agent_state *agent, enum worker_outcome outcome, enum reason reason,
                        int64_t now_ms)
{
    struct worker_result result = {.outcome = outcome, .reason = reason};
    int64_t then_ms = agent->worker_not_before_ms;

    assert_int_equal(agent_state_next(agent, now_ms).step, AGENT_ASK_LOCAL);
    answer_local(agent, PRIMARY, now_ms);
    assert_true(now_ms >= then_ms);
    assert_int_equal(agent_state_next(agent, now_ms).step, AGENT_ASK_OPENS);
    agent_state_on_opens(agent, PROBE_OPENS_NO, now_ms);
    assert_int_equal(agent_state_next(agent, now_ms).step, AGENT_START_WORKER);
    agent_state_on_worker(agent, &result, now_ms);
}

/* For each way to fail: the first wait, and that it grows up to the cap and never beyond. */
/* A secondary on its way has one worker made ready, which goes where the way leads elsewhere. */
static void test_falls_back(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, SECONDARY, AGENT_WAIT, 1000, 1000},
        {1000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1000, RESOLVING, AGENT_READY_WORKER, 0, 0},
        {1000, NOTHING, AGENT_WAIT, 2000, 2000},
        {2000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {2000, SECONDARY, AGENT_DISMISS_WORKER, 0, 0},
        {2000, NOTHING, AGENT_WAIT, 3000, 3000},
        {3000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {3000, READ_ONLY_PRIMARY, AGENT_READY_WORKER, 0, 0},
        {3001, PROBER_DOWN, AGENT_DISMISS_WORKER, 0, 0},
        {3001, NOTHING, AGENT_WAIT, NEVER},
        {3300, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {3300, RESOLVING, AGENT_READY_WORKER, 0, 0},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

/* One that has ended before it was needed is not replaced: who is RESOLVING for hours gets one. */
static void test_ready_worker_ends(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},     {0, RESOLVING, AGENT_READY_WORKER, 0, 0},
        {10, READY_ENDED, AGENT_WAIT, 1000, 1000}, {1000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1000, RESOLVING, AGENT_WAIT, 2000, 2000}, {2000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {2000, PRIMARY, AGENT_ASK_OPENS, 0, 0},    {2000, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {2001, NOTHING, AGENT_WAIT, 3000, 3000},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

/*
 * Its refused login was one too many, and no more are made ready for a while; but the promotion
 * goes on, and its own worker logs in. Refused too, that is the second in a row.
 */
static void test_ready_worker_is_refused(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, RESOLVING, AGENT_READY_WORKER, 0, 0},
        {10, READY_BAD_LOGIN, AGENT_WAIT, 1000, 1000},
        {1000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1000, SECONDARY, AGENT_DISMISS_WORKER, 0, 0},
        {1000, NOTHING, AGENT_WAIT, 2000, 2000},
        {2000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {2000, RESOLVING, AGENT_WAIT, 3000, 3000},
        {3000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {3000, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {3000, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {3100, WORKER_BAD_LOGIN, AGENT_WAIT, 33100, 78100},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

/* Whoever changes the password has mended something: nothing waits for what was refused before. */
static void test_new_login_ends_the_wait(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, BAD_LOGIN, AGENT_WAIT, 30000, 37500},
        {900, NEW_FILES, AGENT_WAIT, 30000, 37500}, /* those for escrowd */
        {1000, PROBER_DOWN, AGENT_WAIT, NEVER},
        {1000, NEW_LOGIN, AGENT_WAIT, NEVER},
        {1200, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {1200, BAD_LOGIN, AGENT_WAIT, 31200, 38700}, /* the first in a row again */
    };
    /* A worker that logs in with the old password while the file changes. */
    static const struct row outrun[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {0, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {10, PROBER_DOWN, AGENT_WAIT, NEVER},
        {10, NEW_LOGIN, AGENT_WAIT, NEVER},
        {20, WORKER_BAD_LOGIN, AGENT_WAIT, NEVER},
        {210, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {210, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {210, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {220, WORKER_BAD_LOGIN, AGENT_WAIT, 30220, 37720},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
    RUN(&agent, outrun);
}

/* The wait after a failed attempt ends, and a worker that has read the old ones is replaced. */
static void test_new_files(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, RESOLVING, AGENT_READY_WORKER, 0, 0},
        {10, NEW_FILES, AGENT_READY_WORKER, 0, 0},
        {10, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {10, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {10, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        {20, DENIED, AGENT_WAIT, 1010, 1010},
        {500, NEW_FILES, AGENT_ASK_OPENS, 0, 0},
        {500, DOES_NOT_OPEN, AGENT_START_WORKER, 0, 0},
        /* Under the worker: its refusal was about the files of before. */
        {510, NEW_FILES, AGENT_ASK_LOCAL, 0, 0},
        {510, PRIMARY, AGENT_WAIT, 1510, 1510},
        {600, DENIED, AGENT_ASK_OPENS, 0, 0},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

/* One account for all databases of an instance: what one was refused the others do not try. */
static void test_login_is_of_the_instance(void **state)
{
    struct agent_login login = {0};
    const struct worker_result refused = {.outcome = WORKER_LOGIN_REFUSED};
    struct agent_state one, other;

    (void)state;
    agent_state_init(&one, &login, POLL_MS, RECHECK_MS, 1, 0);
    agent_state_init(&other, &login, POLL_MS, RECHECK_MS, 2, 0);
    agent_state_on_prober(&one, true, 0);
    agent_state_on_prober(&other, true, 0);
    assert_int_equal(agent_state_next(&one, 0).step, AGENT_ASK_LOCAL);
    assert_int_equal(agent_state_next(&other, 0).step, AGENT_ASK_LOCAL);
    answer_local(&other, PRIMARY, 0);
    assert_int_equal(agent_state_next(&other, 0).step, AGENT_ASK_OPENS);
    answer_local(&one, BAD_LOGIN, 10);
    agent_state_on_opens(&other, PROBE_OPENS_NO, 20);
    assert_int_equal(agent_state_next(&other, 20).step, AGENT_WAIT);
    assert_in_range(agent_state_next(&other, 20).until_ms, 30010, 37510);
    /* What was under way already does not make it longer. */
    agent_state_on_worker(&other, &refused, 30);
    assert_int_equal(login.refused, 1);
    assert_in_range(login.not_before_ms, 30010, 37510);
}

/* Too many others are at work: it is asked for its role, not for its key, until it is let go. */
static void test_held_worker(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},   {10, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {11, HELD, AGENT_WAIT, NEVER},           {20, DOES_NOT_OPEN, AGENT_WAIT, 1010, 1010},
        {500, NOTIFY, AGENT_ASK_LOCAL, 0, 0},    {510, PRIMARY, AGENT_WAIT, 1510, 1510},
        {600, LET_GO, AGENT_START_WORKER, 0, 0}, {700, WORKED, AGENT_ASK_OPENS, 0, 0},
        {701, OPENS, AGENT_WAIT, 1510, 1510},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

/* What was to be done when it was held is not to be done any more. */
static void test_held_for_nothing(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {10, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {11, HELD, AGENT_WAIT, NEVER},
        {20, DOES_NOT_OPEN, AGENT_WAIT, 1010, 1010},
        {1010, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1020, SECONDARY, AGENT_WAIT, 2020, 2020},
        {1030, LET_GO, AGENT_WAIT, 2020, 2020},
        {2020, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {2030, PRIMARY, AGENT_READY_WORKER, 0, 0},
        {2030, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {2031, HELD, AGENT_WAIT, NEVER},
        {2040, DOES_NOT_OPEN, AGENT_WAIT, 3030, 3030},
        {3030, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {3040, UNREACHABLE, AGENT_WAIT, 4040, 4040},
        {3050, LET_GO, AGENT_WAIT, 4040, 4040},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
    assert_false(agent_state_wants_worker(&agent));
}

/* Another database's worker was refused meanwhile: no further login until that is over. */
static void test_held_until_a_login_is_refused(void **state)
{
    struct agent_login login = {0};
    struct agent_state agent;

    (void)state;
    agent_state_init(&agent, &login, POLL_MS, RECHECK_MS, 7, 0);
    apply(&agent, PROBER_UP, 0);
    assert_int_equal(agent_state_next(&agent, 0).step, AGENT_ASK_LOCAL);
    apply(&agent, PRIMARY, 10);
    assert_int_equal(agent_state_next(&agent, 10).step, AGENT_ASK_OPENS);
    apply(&agent, DOES_NOT_OPEN, 20);
    apply(&agent, HELD, 20);
    assert_true(agent_state_wants_worker(&agent));
    login.not_before_ms = 30000;
    apply(&agent, LET_GO, 30);
    assert_int_equal(agent_state_next(&agent, 30).step, AGENT_WAIT);
    assert_false(agent_state_wants_worker(&agent));
    assert_int_equal(agent_state_next(&agent, 30000).step, AGENT_ASK_OPENS);
}

/* Where the master key opens, or nobody can tell, the worker is dismissed. */
static void test_ready_for_nothing(void **state)
{
    static const struct row rows[] = {
        {0, PROBER_UP, AGENT_ASK_LOCAL, 0, 0},
        {0, SECONDARY, AGENT_WAIT, 1000, 1000},
        {1000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {1000, PRIMARY, AGENT_READY_WORKER, 0, 0}, /* seen late, but not too late */
        {1000, NOTHING, AGENT_ASK_OPENS, 0, 0},
        {1001, OPENS, AGENT_DISMISS_WORKER, 0, 0},
        {1001, NOTHING, AGENT_WAIT, 2000, 2000},
        /* A primary on its way back, or to be a secondary, needs none. */
        {2000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {2000, RESOLVING, AGENT_WAIT, 3000, 3000},
        {3000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {3000, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {3001, OPENS, AGENT_WAIT, 4000, 4000},
        {4000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {4000, SECONDARY, AGENT_WAIT, 5000, 5000},
        {5000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {5000, RESOLVING, AGENT_READY_WORKER, 0, 0},
        {5000, NOTHING, AGENT_WAIT, 6000, 6000},
        {6000, NOTHING, AGENT_ASK_LOCAL, 0, 0},
        {6000, PRIMARY, AGENT_ASK_OPENS, 0, 0},
        {6001, NO_CERTIFICATE, AGENT_DISMISS_WORKER, 0, 0},
    };
    struct agent_state agent;

    (void)state;
    RUN(&agent, rows);
}

static void test_spacing_of_each_outcome(void **state)
{
    static const struct {
        enum worker_outcome outcome;
        enum reason reason;
        int64_t first_ms, cap_ms;
    } cases[] = {
        {WORKER_UNAVAILABLE, REASON_NONE, 200, 30000},
        {WORKER_SQL_UNREACHABLE, REASON_NONE, 200, 30000},
        {WORKER_SQL_FAILED, REASON_NONE, 200, 30000},
        {WORKER_DENIED, REASON_WITNESSES_MISSING, 200, 30000},
        {WORKER_DENIED, REASON_TPM_UNAVAILABLE, 200, 30000},
        {WORKER_DENIED, REASON_GRANTED_TO_OTHER, 5000, 60000},
        {WORKER_DENIED, REASON_KEY_UNKNOWN, 5000, 60000},
        {WORKER_NEEDS_APPROVAL, REASON_RIVAL_PRIMARY, 5000, 60000},
        {WORKER_DISTRUSTED, REASON_NONE, 5000, 60000},
        {WORKER_NOT_PROVED, REASON_NONE, 5000, 60000},
        {WORKER_LOCAL, REASON_NONE, 5000, 60000},
        {WORKER_DIED, REASON_NONE, 5000, 60000},
        {WORKER_WRONG_PASSWORD, REASON_PROMOTION, 30000, 600000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t now_ms = 1000, wait_ms = 0;
        struct agent_login login = {0};
        struct agent_state agent;

        agent_state_init(&agent, &login, POLL_MS, RECHECK_MS, (uint32_t)i, now_ms);
        agent_state_on_prober(&agent, true, now_ms);
        for (unsigned attempt = 0; attempt < 40; attempt++) {
            fail_worker(&agent, cases[i].outcome, cases[i].reason, now_ms);
            wait_ms = agent.worker_not_before_ms - now_ms;
            if (attempt == 0)
                assert_in_range(wait_ms, cases[i].first_ms, cases[i].first_ms * 5 / 4);
            assert_true(wait_ms <= cases[i].cap_ms);
            now_ms += wait_ms;
            /* Asks for the role again, so that fail_worker finds the same order each time. */
            agent.local_due_ms = agent.check_due_ms = now_ms;
            agent.role = AGENT_ROLE_UNKNOWN;
        }
        assert_true(wait_ms >= cases[i].cap_ms * 4 / 5);
    }
}

static void test_retry_after_is_kept(void **state)
{
    struct worker_result result = {.outcome = WORKER_UNAVAILABLE, .retry_after_s = 7};
    struct agent_login login = {0};
    struct agent_state agent;

    (void)state;
    agent_state_init(&agent, &login, POLL_MS, RECHECK_MS, 1, 0);
    agent_state_on_worker(&agent, &result, 100);
    assert_int_equal(agent.worker_not_before_ms, 7100);
}

static void test_words(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKER_OUTCOMES; i++)
        assert_string_not_equal(worker_outcome_name((enum worker_outcome)i), "unknown");
    for (unsigned i = 0; i < WORKER_PARTS; i++)
        assert_string_not_equal(worker_part_name((enum worker_part)i), "unknown");
    assert_string_equal(worker_outcome_name(WORKER_OUTCOMES), "unknown");
    assert_string_equal(worker_part_name(WORKER_PARTS), "unknown");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promotion),
        cmocka_unit_test(test_opens_already),
        cmocka_unit_test(test_failures_are_spaced),
        cmocka_unit_test(test_role_change_retries_at_once),
        cmocka_unit_test(test_silence_is_no_role_change),
        cmocka_unit_test(test_refused_login_holds_everything_back),
        cmocka_unit_test(test_notify_ends_the_spacing),
        cmocka_unit_test(test_notify_while_something_is_out),
        cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_demoted_while_asked),
        cmocka_unit_test(test_falls_back),
        cmocka_unit_test(test_ready_worker_ends),
        cmocka_unit_test(test_ready_worker_is_refused),
        cmocka_unit_test(test_new_login_ends_the_wait),
        cmocka_unit_test(test_new_files),
        cmocka_unit_test(test_login_is_of_the_instance),
        cmocka_unit_test(test_held_worker),
        cmocka_unit_test(test_held_for_nothing),
        cmocka_unit_test(test_held_until_a_login_is_refused),
        cmocka_unit_test(test_ready_for_nothing),
        cmocka_unit_test(test_spacing_of_each_outcome),
        cmocka_unit_test(test_retry_after_is_kept),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
