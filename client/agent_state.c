/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_state.h"

#include <string.h>

/*
 * How long the next attempt waits: start, doubled with each attempt up to cap, and up to a quarter
 * more at random, so that what stopped many agents at once is not met by all of them at once.
 */
struct spacing {
    int64_t start_ms;
    int64_t cap_ms; /* before the random quarter */
};

/* What may be right in a moment: a role that restarts, a witness that has not seen it yet. */
static const struct spacing soon = {200, 24 * 1000};
/* What waits for a person, or for a change of the cluster. */
static const struct spacing later = {5 * 1000, 48 * 1000};
/* What each attempt makes worse: a locked account, a grant used up for nothing. */
static const struct spacing rarely = {30 * 1000, 480 * 1000};

#define DOUBLINGS_MAX 16

/* xorshift32 (Marsaglia 2003): spreads attempts; nothing secret depends on it. */
static uint32_t next_random(uint32_t *random)
{
    uint32_t x = *random;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *random = x;
    return x;
}

static int64_t delay_ms(const struct spacing *spacing, unsigned before, uint32_t *random)
{
    int64_t delay = spacing->start_ms << (before < DOUBLINGS_MAX ? before : DOUBLINGS_MAX);

    if (delay > spacing->cap_ms)
        delay = spacing->cap_ms;
    return delay + (int64_t)(next_random(random) % (uint32_t)(delay / 4 + 1));
}

/* How soon escrowd may decide otherwise. Unlisted reasons wait for a person. */
static const struct spacing *spacing_of_reason(enum reason reason)
{
    switch (reason) {
    case REASON_NONCE_INVALID:
    case REASON_OBJECT_MISMATCH: /* the active version changed between challenge and release */
    case REASON_CANDIDATE_UNREACHABLE:
    case REASON_CANDIDATE_NOT_PRIMARY:
    case REASON_CANDIDATE_NOT_ONLINE:
    case REASON_CANDIDATE_NOT_WRITABLE:
    case REASON_CANDIDATE_NO_QUORUM:
    case REASON_SESSION_NOT_FOUND:
    case REASON_WITNESSES_MISSING:
    case REASON_SEQUENCE_NOT_MAXIMUM:
    case REASON_STARTING:
    case REASON_ROLE_DOWN:
    case REASON_TPM_UNAVAILABLE:
    case REASON_LOG_UNAVAILABLE:
    case REASON_STORE_UNAVAILABLE:
    case REASON_OVERLOADED:
    case REASON_DEADLINE:
    case REASON_INTERNAL:
        return &soon;
    default:
        return &later;
    }
}

static const struct spacing *spacing_of(const struct worker_result *result)
{
    switch (result->outcome) {
    case WORKER_OPENED:
    case WORKER_ALREADY_OPEN:
    case WORKER_UNAVAILABLE:
    case WORKER_SQL_UNREACHABLE:
        return &soon;
    case WORKER_DENIED:
        return spacing_of_reason(result->reason);
    case WORKER_WRONG_PASSWORD:
        return &rarely;
    case WORKER_SQL_FAILED:
        /* Before a grant only the session was asked for; after it, an attempt was used up. */
        return result->epoch == 0 ? &soon : &later;
    case WORKER_DIED:
    case WORKER_NEEDS_APPROVAL:
    case WORKER_DISTRUSTED:
    case WORKER_LOGIN_REFUSED:
    case WORKER_NOT_PROVED:
    case WORKER_LOCAL:
    case WORKER_OUTCOMES:
        return &later;
    }
    return &later;
}

void agent_state_init(struct agent_state *state, struct agent_login *login, int64_t poll_ms,
                      int64_t recheck_ms, uint32_t seed, int64_t now_ms)
{
    memset(state, 0, sizeof(*state));
    state->login = login;
    state->poll_ms = poll_ms;
    state->recheck_ms = recheck_ms;
    state->random = seed ? seed : 1; /* xorshift never leaves zero */
    state->local_due_ms = state->check_due_ms = now_ms;
    state->worker_not_before_ms = now_ms;
}

static int64_t later_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool may_check(const struct agent_state *state)
{
    return state->role == AGENT_ROLE_PRIMARY && !state->is_working;
}

bool agent_state_wants_worker(const struct agent_state *state)
{
    return may_check(state) && state->opens == PROBE_OPENS_NO;
}

void agent_state_hold(struct agent_state *state, bool is_held)
{
    state->is_held = is_held;
}

/* Where a login was refused while it was held, its answer is used up: it is asked for again. */
static bool wants_worker_now(struct agent_state *state, int64_t now_ms)
{
    if (agent_state_wants_worker(state) && now_ms < state->login->not_before_ms) {
        state->opens = PROBE_OPENS_UNKNOWN;
        state->check_due_ms = state->login->not_before_ms;
    }
    return agent_state_wants_worker(state);
}

struct agent_next agent_state_next(struct agent_state *state, int64_t now_ms)
{
    struct agent_next next = {.step = AGENT_WAIT, .until_ms = INT64_MAX};
    const struct agent_login *login = state->login;
    bool wants_worker = wants_worker_now(state, now_ms);
    bool wants_check = may_check(state) && !wants_worker;
    int64_t local_ms = later_of(state->local_due_ms, login->not_before_ms);
    int64_t check_ms = later_of(state->check_due_ms, login->not_before_ms);
    int64_t ready_ms = later_of(login->ready_not_before_ms, login->not_before_ms);

    if (state->is_ready && !state->is_expected) {
        state->is_ready = false;
        next.step = AGENT_DISMISS_WORKER;
        return next;
    }
    if (!state->is_prober_up || state->is_asking)
        return next;
    if (wants_worker && !state->is_held) {
        /* The answer is used up: after this worker the instance is asked again. */
        state->opens = PROBE_OPENS_UNKNOWN;
        state->is_working = true;
        state->is_expected = state->is_ready = false;
        next.step = AGENT_START_WORKER;
    } else if (state->is_expected && !state->is_ready && !state->is_working && now_ms >= ready_ms) {
        state->is_ready = true;
        next.step = AGENT_READY_WORKER;
    } else if (wants_check && now_ms >= check_ms) {
        state->is_asking = true;
        next.step = AGENT_ASK_OPENS;
    } else if (now_ms >= local_ms) {
        state->is_asking = true;
        next.step = AGENT_ASK_LOCAL;
    } else {
        next.until_ms = wants_check && check_ms < local_ms ? check_ms : local_ms;
    }
    return next;
}

void agent_state_on_prober(struct agent_state *state, bool is_up, int64_t now_ms)
{
    state->is_prober_up = is_up;
    state->is_asking = false;
    if (!is_up) {
        state->role = AGENT_ROLE_UNKNOWN;
        state->is_expected = false;
    }
    state->local_due_ms = now_ms;
}

/* Who asked while a question or a worker was out wants to know of the time after that. */
static void take_notice(struct agent_state *state, int64_t now_ms)
{
    if (!state->is_notified || state->is_asking || state->is_working)
        return;
    state->is_notified = false;
    state->local_due_ms = state->check_due_ms = state->worker_not_before_ms = now_ms;
}

/* What was tried before the last refusal was known has been counted with it. */
static void hold_back_instance(struct agent_state *state, int64_t now_ms)
{
    struct agent_login *login = state->login;

    if (now_ms < login->not_before_ms)
        return;
    login->not_before_ms = now_ms + delay_ms(&rarely, login->refused, &state->random);
    login->refused++;
}

/* What was learnt and what was tried belongs to another promotion, or to other files. */
static void start_afresh(struct agent_state *state, int64_t now_ms)
{
    state->attempts = 0;
    state->worker_not_before_ms = now_ms;
    state->is_outrun = state->is_working;
}

/* A primary that leaves its role, and comes back to it, has a master key that opens. */
static void expect(struct agent_state *state, const struct probe_state *answer)
{
    bool is_usable = answer->role == PROBE_ROLE_PRIMARY && answer->is_read_write;

    if (answer->role == PROBE_ROLE_SECONDARY)
        state->is_expected = false;
    else if (is_usable ? state->settled == AGENT_ROLE_OTHER : state->settled != AGENT_ROLE_PRIMARY)
        state->is_expected = true;
    if (is_usable)
        state->settled = AGENT_ROLE_PRIMARY;
    else if (answer->role == PROBE_ROLE_SECONDARY)
        state->settled = AGENT_ROLE_OTHER;
}

void agent_state_on_local(struct agent_state *state, const struct probe_state *answer,
                          int64_t now_ms)
{
    enum agent_role role = AGENT_ROLE_UNKNOWN;

    state->is_asking = false;
    state->local_due_ms = now_ms + state->poll_ms;
    if (answer->outcome == PROBE_ANSWERED) {
        bool is_primary = answer->role == PROBE_ROLE_PRIMARY && answer->is_read_write;

        role = is_primary ? AGENT_ROLE_PRIMARY : AGENT_ROLE_OTHER;
        expect(state, answer);
    } else if (answer->outcome == PROBE_LOGIN_REFUSED) {
        hold_back_instance(state, now_ms);
    }
    if (role == AGENT_ROLE_OTHER)
        state->login->refused = 0;
    if (role != state->role) {
        state->opens = PROBE_OPENS_UNKNOWN;
        state->check_due_ms = now_ms;
    }
    /* An instance that was only silent for a while has not been promoted. */
    if (role != AGENT_ROLE_UNKNOWN && role != state->last_known) {
        start_afresh(state, now_ms);
        state->last_known = role;
    }
    state->role = role;
    take_notice(state, now_ms);
}

static void judge(struct agent_state *state, enum probe_opens answer, int64_t now_ms)
{
    int64_t worker_ms;

    state->opens = answer;
    switch (answer) {
    case PROBE_OPENS_YES:
        state->is_expected = false;
        state->attempts = state->login->refused = 0;
        state->check_due_ms = now_ms + state->recheck_ms;
        break;
    case PROBE_OPENS_NO:
        /* While an attempt is held back the answer grows old: it is asked for again then. */
        worker_ms = later_of(state->worker_not_before_ms, state->login->not_before_ms);
        if (now_ms < worker_ms) {
            state->is_expected = false;
            state->opens = PROBE_OPENS_UNKNOWN;
            state->check_due_ms = worker_ms;
        }
        break;
    case PROBE_OPENS_NO_CERTIFICATE:
        state->is_expected = false;
        state->check_due_ms = now_ms + state->recheck_ms;
        break;
    case PROBE_OPENS_UNKNOWN:
        state->check_due_ms = now_ms + state->poll_ms;
        state->local_due_ms = now_ms;
        break;
    }
}

void agent_state_on_opens(struct agent_state *state, enum probe_opens answer, int64_t now_ms)
{
    state->is_asking = false;
    if (state->role == AGENT_ROLE_PRIMARY)
        judge(state, answer, now_ms);
    take_notice(state, now_ms);
}

void agent_state_on_worker(struct agent_state *state, const struct worker_result *result,
                           int64_t now_ms)
{
    bool has_opened = result->outcome == WORKER_OPENED || result->outcome == WORKER_ALREADY_OPEN;
    int64_t wait_ms = delay_ms(spacing_of(result), state->attempts, &state->random);

    state->is_working = false;
    if (result->outcome == WORKER_LOGIN_REFUSED && !state->has_old_login)
        hold_back_instance(state, now_ms);
    state->has_old_login = false;
    if (state->is_outrun) {
        start_afresh(state, now_ms);
        state->check_due_ms = now_ms;
        take_notice(state, now_ms);
        return;
    }
    state->attempts++;
    state->worker_not_before_ms = now_ms + later_of(wait_ms, (int64_t)result->retry_after_s * 1000);
    /* A success is confirmed at once by the instance itself. */
    state->check_due_ms = has_opened ? now_ms : state->worker_not_before_ms;
    take_notice(state, now_ms);
}

/*
 * It was a login more than was needed: where it was refused no other one is made ready for a while,
 * but the promotion is not held up for that. The prober goes on, and its worker logs in once.
 */
void agent_state_on_ready_ended(struct agent_state *state, const struct worker_result *result,
                                int64_t now_ms)
{
    struct agent_login *login = state->login;

    if (result->outcome != WORKER_LOGIN_REFUSED || now_ms < login->ready_not_before_ms)
        return;
    login->ready_not_before_ms = now_ms + delay_ms(&rarely, login->refused, &state->random);
    login->refused++;
}

void agent_state_on_notify(struct agent_state *state, int64_t now_ms)
{
    state->is_notified = true;
    take_notice(state, now_ms);
}

void agent_state_on_files(struct agent_state *state, bool is_login, int64_t now_ms)
{
    state->is_ready = false;
    start_afresh(state, now_ms);
    if (is_login) {
        state->has_old_login = state->is_working;
        *state->login = (struct agent_login){0};
    }
    agent_state_on_notify(state, now_ms);
}
