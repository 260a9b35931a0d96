/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A prober that was taken over, against the real keeper. Whatever it says is worth what one
 * instance that lies, or is silent, is worth; what no prober may say costs it its process, and no
 * other one.
 */
#include "libescrow/ipc_probe.h"
#include "libescrow/json.h"
#include "policy/evidence.h"
#include "tests/unit/keeper_fixture.h"
#include "tests/unit/wall_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define LIES 120
#define LIES_ALL 800
#define ECHO_LIES 40
#define ECHO_LIES_ALL 400
#define PRIMARY 1 /* node-b, in truth */
#define MINUTE_MS INT64_C(60000)

/* ---- lies ---- */

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static void lie_number(struct probe_state *state)
{
    static const size_t offsets[] = {
        offsetof(struct probe_state, cluster_type),
        offsetof(struct probe_state, role),
        offsetof(struct probe_state, operational_state),
        offsetof(struct probe_state, recovery_health),
        offsetof(struct probe_state, synchronization_health),
        offsetof(struct probe_state, synchronization_state),
        offsetof(struct probe_state, database_state),
        offsetof(struct probe_state, quorum_state),
        offsetof(struct probe_state, sql_error),
    };
    static const int32_t values[] = {-1, 0, 1, 2, 3, 255, INT32_MAX, INT32_MIN};

    memcpy((uint8_t *)state + offsets[draw(ARRAY_LEN(offsets))], &values[draw(ARRAY_LEN(values))],
           sizeof(int32_t));
}

static void lie_text(struct probe_state *state)
{
    static const char *const values[] = {
        "",   "SQLA",   "SQLB", "SQLC", "sqlb", "SQLB ",    "SQLA,SQLB",
        "1",  "%s%n%p", "\n",   "\"",   "\xff", "\xc3\x28", "99999999999999999999999",
        "-1", "NULL",   "\x7f",
    };
    const struct {
        char *text;
        size_t cap;
    } texts[] = {{state->server_name, sizeof(state->server_name)},
                 {state->primary_replica, sizeof(state->primary_replica)},
                 {state->recovery_lsn, sizeof(state->recovery_lsn)},
                 {state->diagnosis, sizeof(state->diagnosis)}};
    size_t which = draw(ARRAY_LEN(texts));

    if (draw(4)) {
        snprintf(texts[which].text, texts[which].cap, "%s", values[draw(ARRAY_LEN(values))]);
        return;
    }
    /* As long as it can be, and not UTF-8. */
    memset(texts[which].text, draw(2) ? 0xff : 'A', texts[which].cap - 1);
    texts[which].text[texts[which].cap - 1] = '\0';
}

static void lie_flag(struct probe_state *state)
{
    bool *const flags[] = {&state->is_read_write, &state->is_forwarder, &state->has_quorum_row,
                           &state->has_sequence_number};

    *flags[draw(ARRAY_LEN(flags))] ^= true;
}

static void lie_sequence(struct probe_state *state)
{
    static const int64_t values[] = {INT64_MIN, -1, 0, 1, INT64_MAX};

    state->has_sequence_number = true;
    state->sequence_number = values[draw(ARRAY_LEN(values))];
}

static void lie_outcome(struct probe_state *state)
{
    state->outcome = (enum probe_outcome)(PROBE_ANSWERED + draw(PROBE_NO_ROW - PROBE_ANSWERED + 1));
}

/* From the truth, or from a good story (it is primary and knows itself to be). */
static void tell_lie(struct keeper_fixture *fx, int liar)
{
    static void (*const lies[])(struct probe_state * state) = {
        lie_number, lie_number, lie_text, lie_text, lie_flag, lie_sequence, lie_outcome};
    struct fx_replica *replica = &fx->replicas[liar];
    struct probe_state state;

    fx_set_primary(fx, draw(2) ? liar : PRIMARY);
    state = replica->state;
    fx_set_primary(fx, PRIMARY);
    for (uint64_t count = draw(4); count > 0; count--)
        lies[draw(ARRAY_LEN(lies))](&state);
    replica->state = state;
    replica->has_session = draw(4) > 0;
}

/* It has read what nobody committed, or has not what everybody has, or says why it cannot. */
static void lie_about_echo(struct fx_replica *replica)
{
    static const enum probe_outcome outcomes[] = {
        0, 0, PROBE_ANSWERED, PROBE_SQL_ERROR, PROBE_LOGIN_REFUSED, PROBE_UNREACHABLE};

    replica->echo_after = (unsigned)draw(3);
    replica->echo_asked = 0;
    replica->echo_failure = (struct probe_echo){.outcome = outcomes[draw(ARRAY_LEN(outcomes))],
                                                .is_found = draw(2),
                                                .is_late = draw(2),
                                                .is_closed = draw(2),
                                                .sql_error = (int32_t)draw(2) * 976};
}

/* ---- what the keeper makes of it ---- */

static uint64_t sequence; /* of the first record that has not been looked at */
static struct policy_verdict last_verdict;

static void assert_same_facts(const struct keeper_fixture *fx, const struct policy_facts *facts)
{
    assert_int_equal(facts->replica_count, FX_REPLICAS);
    for (size_t i = 0; i < facts->replica_count; i++) {
        const struct probe_state *said = &fx->replicas[i].state, *known = &facts->replicas[i].state;

        assert_string_equal(facts->replicas[i].instance, fx->replicas[i].instance);
        if (facts->replicas[i].status != POLICY_ANSWERED)
            continue;
        assert_int_equal(known->outcome, said->outcome);
        if (said->outcome != PROBE_ANSWERED)
            continue;
        assert_int_equal(known->role, said->role);
        assert_int_equal(known->is_read_write, said->is_read_write);
        assert_string_equal(known->server_name, said->server_name);
        assert_string_equal(known->primary_replica, said->primary_replica);
    }
}

/* The decision in the record is the policy's on the facts in it, and these are what was said. */
static enum policy_outcome judge(const struct keeper_fixture *fx, const json_t *record)
{
    CLEANUP(cleanup_free) struct policy_evidence *evidence = NULL;
    struct policy_verdict verdict;

    assert_int_equal(policy_evidence_from_json(
                         json_object_get(json_object_get(record, "facts"), "evidence"), &evidence),
                     ESCROW_OK);
    assert_same_facts(fx, &evidence->facts);
    policy_decide(&evidence->rules, &evidence->request, &evidence->facts, &evidence->ledger,
                  &verdict);
    assert_string_equal(json_string_value(json_object_get(record, "decision")),
                        policy_outcome_name(verdict.outcome));
    assert_string_equal(json_string_value(json_object_get(record, "reason")),
                        reason_code(verdict.reason));
    last_verdict = verdict;
    return verdict.outcome;
}

/* One release by this agent, and its outcome. */
static enum policy_outcome ask(struct keeper_fixture *fx, enum fx_who who)
{
    CLEANUP(key_free_p) EVP_PKEY *recipient = key_generate();
    CLEANUP(answer_free_p) struct answer *grant = NULL;
    enum reason reason;
    CLEANUP(json_free_p) json_t *records = NULL;
    enum policy_outcome outcome = POLICY_DENY;
    unsigned decisions = 0, status;
    static int64_t asked;

    /* Only ten new requests for an approval are recorded within a minute. */
    wall_clock_move(++asked * MINUTE_MS / 8);
    grant = fx_release(fx, who, recipient);
    reason = fx->reply.reason;
    status = fx->reply.status;
    records = fx_log_from(fx, sequence);
    sequence += json_array_size(records);
    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *record = json_array_get(records, i);

        if (strcmp(json_string_value(json_object_get(record, "event")), "release") != 0)
            continue;
        decisions++;
        outcome = judge(fx, record);
    }
    /* Of denials that are alike not each has a record. */
    if (decisions != 1 && (decisions != 0 || status != 403))
        fx_fail("not one decision", reason_code(reason));
    assert_int_equal(outcome == POLICY_ALLOW, grant != NULL);
    return outcome;
}

static unsigned restarts(const struct keeper_fixture *fx)
{
    unsigned count = fx->front_restarts;

    for (int i = 0; i < FX_REPLICAS; i++)
        count += fx->replicas[i].restarts;
    return count;
}

/* How many; says so. */
static unsigned begin_lies(unsigned sample, unsigned all)
{
    const char *is_all = getenv("ESCROW_TEST_ALL"), *seed = getenv("ESCROW_TEST_SEED");
    unsigned count = is_all && strcmp(is_all, "1") == 0 ? all : sample;
    uint64_t chosen = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);

    random_state = chosen * 2654435761U + 1;
    print_message("# sampled %u of %u lies (seed %llu)\n", count, all, (unsigned long long)chosen);
    return count;
}

/* One liar among three: only the true primary ever gets anything, and it is never just denied. */
static void test_lies(void **state)
{
    unsigned count = begin_lies(LIES, LIES_ALL), outcomes[5] = {0};
    struct keeper_fixture *fx = *state;
    unsigned before = restarts(fx);

    for (unsigned i = 0; i < count; i++) {
        int liar = (int)draw(FX_REPLICAS);
        enum fx_who who = draw(2) ? FX_AGENT_A : FX_AGENT_B;
        enum policy_outcome outcome;

        tell_lie(fx, liar);
        outcome = ask(fx, who);
        outcomes[outcome]++;
        if (who == FX_AGENT_A)
            assert_int_not_equal(outcome, POLICY_ALLOW);
        else if (liar != PRIMARY)
            assert_int_not_equal(outcome, POLICY_DENY);
        fx->replicas[liar].has_session = true;
        fx_set_primary(fx, PRIMARY);
    }
    assert_true(outcomes[POLICY_ALLOW] > 0 && outcomes[POLICY_DENY] > 0);
    assert_int_equal(restarts(fx), before);
    /* No liar has moved the group, and the log that holds the lies is read again. */
    assert_int_equal(fx_count(fx, "epoch", NULL), 2);
    fx_shut_down(fx);
    fx_run(fx);
    fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_AUDITOR].identity, "");
    assert_int_equal(fx->reply.status, 200);
    fx_wait_primary(fx, "node-b");
}

/* What node-b commits, the honest ones have at once; of what another one would, nobody hears. */
static void spread_echo(struct keeper_fixture *fx, enum fx_who who)
{
    for (int i = 0; i < FX_REPLICAS; i++) {
        fx->replicas[i].echo_after = who == FX_AGENT_B;
        fx->replicas[i].echo_failure.outcome = 0;
    }
}

/* The same with an echo: whatever one of two secondaries says, the other one's word passes it. */
static void test_lies_about_the_echo(void **state)
{
    unsigned count = begin_lies(ECHO_LIES, ECHO_LIES_ALL), outcomes[5] = {0};
    struct keeper_fixture *fx = *state;
    unsigned before = restarts(fx);

    for (unsigned i = 0; i < count; i++) {
        int liar = (int)draw(FX_REPLICAS);
        enum fx_who who = draw(4) ? FX_AGENT_B : FX_AGENT_A;
        enum policy_outcome outcome;

        tell_lie(fx, liar);
        spread_echo(fx, who);
        lie_about_echo(&fx->replicas[liar]);
        outcome = ask(fx, who);
        outcomes[outcome]++;
        if (who == FX_AGENT_A)
            assert_int_not_equal(outcome, POLICY_ALLOW);
        else if (liar != PRIMARY)
            assert_int_equal(last_verdict.rules[POLICY_RULE_ECHO].result, POLICY_PASSED);
        fx->replicas[liar].has_session = true;
        fx_set_primary(fx, PRIMARY);
    }
    assert_true(outcomes[POLICY_ALLOW] > 0 && outcomes[POLICY_DENY] > 0);
    assert_int_equal(restarts(fx), before);
    spread_echo(fx, FX_AGENT_B);
}

/*
 * Where one witness is enough, and nobody else speaks against it, the liar is its only witness: but
 * its one secondary has not read what it says that it committed.
 */
static void test_liar_alone_has_no_echo(void **state)
{
    struct keeper_fixture *fx = *state;

    fx_set_primary(fx, 0);
    for (int i = 1; i < FX_REPLICAS; i++)
        fx->replicas[i].state.primary_replica[0] = '\0';
    fx->replicas[PRIMARY].state.role = 0;
    spread_echo(fx, FX_AGENT_A);
    assert_int_equal(ask(fx, FX_AGENT_A), POLICY_NEEDS_APPROVAL);
    assert_int_equal(last_verdict.rules[POLICY_RULE_WITNESSES].result, POLICY_PASSED);
    assert_int_equal(last_verdict.reason, REASON_ECHO_MISSING);
    /* It could not be told from the truth by anything else. */
    spread_echo(fx, FX_AGENT_B);
    assert_int_equal(ask(fx, FX_AGENT_A), POLICY_ALLOW);
}

/* ---- what no prober may say ---- */

#define LIAR 0

static uint8_t packet[sizeof(struct ipc_header) + IPC_PAYLOAD_MAX + 64];

/* Sends the packet, and the keeper wants a new prober of this instance, and of no other. */
static void assert_kills(struct keeper_fixture *fx, size_t len, int fds)
{
    struct fx_replica *replica = &fx->replicas[LIAR];
    unsigned before = replica->restarts, all = restarts(fx);
    struct iovec part = {packet, len};
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(3 * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)fds * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)fds * sizeof(int));
        for (int i = 0; i < fds; i++)
            memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &(int){STDERR_FILENO},
                   sizeof(int));
    }
    assert_int_equal(sendmsg(replica->fd, &message, 0), len);
    fx_wait_restarts(fx, LIAR, before + 1);
    assert_int_equal(restarts(fx), all + 1);
    fx_attach_prober(fx, LIAR);
}

static size_t make_packet(uint32_t type, uint64_t id, const void *payload, size_t len)
{
    const struct ipc_header header = {.type = type, .length = (uint32_t)len, .id = id};

    memcpy(packet, &header, sizeof(header));
    if (len > 0)
        memcpy(packet + sizeof(header), payload, len);
    return sizeof(header) + len;
}

static void test_every_cut(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    unsigned before = fx_descriptors(fx);

    ipc_put_probe_state(&writer, &fx->replicas[LIAR].state);
    for (size_t len = 0; len < writer.len; len++)
        assert_kills(fx, make_packet(IPC_PROBE_STATE, 1, writer.bytes, len), 0);
    ipc_put_u8(&writer, 0);
    assert_kills(fx, make_packet(IPC_PROBE_STATE, 1, writer.bytes, writer.len), 0);
    for (size_t len = 0; len < sizeof(struct ipc_header); len++)
        assert_kills(fx, len, 0);
    assert_kills(fx, sizeof(packet), 0);
    for (int fds = 1; fds <= 3; fds++)
        assert_kills(fx, make_packet(IPC_PROBE_STATE, 1, writer.bytes, writer.len - 1), fds);
    fx_ping(fx);
    assert_int_equal(fx_descriptors(fx), before);
}

/* Of so many databases; 0: to the question about one. */
static void put_states(struct ipc_writer *writer, const struct probe_state *state, size_t count)
{
    CLEANUP(cleanup_free)
    struct ipc_probe_states *states = calloc(1, sizeof(*states) + count * sizeof(*state));

    assert_non_null(states);
    states->count = count;
    for (size_t i = 0; i < count; i++)
        states->items[i] = *state;
    if (count)
        ipc_put_probe_states(writer, states);
    else
        ipc_put_probe_state(writer, state);
}

/* Numbers and texts that no enum and no buffer has. */
static void test_values_out_of_range(void **state)
{
    struct keeper_fixture *fx = *state;
    struct probe_state said = fx->replicas[LIAR].state;
    CLEANUP(ipc_writer_deinit) struct ipc_writer whole = {0};
    static const uint32_t wrong[] = {0x7f7f7f7f, UINT32_MAX, 0x80000000, 512, 513};

    static const uint32_t counts[] = {0, 1, 2, 3, PROBE_STATES_MAX + 1, UINT32_MAX};

    ipc_put_probe_state(&whole, &said);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        /* The outcome, and the length of the first text. */
        memcpy(whole.bytes, &wrong[i], sizeof(wrong[i]));
        assert_kills(fx, make_packet(IPC_PROBE_STATE, 1, whole.bytes, whole.len), 0);
        memset(whole.bytes, 0, sizeof(uint32_t));
        memcpy(whole.bytes + 8, &wrong[i], sizeof(wrong[i]));
        assert_kills(fx, make_packet(IPC_PROBE_STATE, 1, whole.bytes, whole.len), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        CLEANUP(ipc_writer_deinit) struct ipc_writer many = {0};

        put_states(&many, &said, 2);
        memcpy(many.bytes, &counts[i], sizeof(counts[i]));
        assert_kills(fx, make_packet(IPC_PROBE_STATES, 1, many.bytes, many.len), 0);
        assert_kills(fx, make_packet(IPC_PROBE_STATES, 1, many.bytes, many.len - 1), 0);
    }
    for (uint8_t value = 2; value != 0; value = (uint8_t)(value * 2)) {
        const uint8_t session[] = {0, 0, 0, 0, value};

        assert_kills(fx, make_packet(IPC_PROBE_SESSION, 1, session, sizeof(session)), 0);
    }
}

/* How a question is answered wrongly. */
enum wrong {
    WRONG_ID,
    WRONG_ZERO,
    WRONG_TYPE,
    WRONG_OPENS,
    WRONG_ECHO,
    WRONG_TWICE,
    WRONG_OTHERS,
    WRONG_NUMBER,
    WRONG_COUNT
};

static uint64_t others_id; /* of a question to another prober that is open */

static bool answer_wrongly(struct fx_replica *replica, const struct ipc_message *question,
                           void *argument)
{
    enum wrong how = *(const enum wrong *)argument;
    const struct ipc_probe_session session = {PROBE_ANSWERED, true};
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    const bool is_of_many = question->type == IPC_PROBE_ASK_STATES;
    uint32_t type = is_of_many ? IPC_PROBE_STATES : IPC_PROBE_STATE;
    uint64_t id = question->id;

    if (!is_of_many && how == WRONG_NUMBER)
        return false;

    if (how == WRONG_ID)
        id += 1000;
    else if (how == WRONG_ZERO)
        id = 0;
    else if (how == WRONG_OTHERS)
        id = others_id;
    else if (how == WRONG_ECHO)
        type = question->type;
    else if (how == WRONG_OPENS)
        type = IPC_PROBE_OPENS;
    else if (how == WRONG_TYPE && question->type == IPC_PROBE_ASK_STATE)
        type = IPC_PROBE_SESSION;
    if (type == IPC_PROBE_SESSION)
        ipc_put_probe_session(&writer, &session);
    else if (type == IPC_PROBE_OPENS)
        ipc_put_probe_opens(&writer, &(struct ipc_probe_opens){.opens = PROBE_OPENS_YES});
    else
        put_states(&writer, &replica->state, is_of_many ? 1 + (how == WRONG_NUMBER) : 0);
    for (int i = 0; i < (how == WRONG_TWICE ? 2 : 1); i++)
        (void)!ipc_send(replica->fd, type, id, &writer, FX_DEADLINE_MS);
    return true;
}

static bool note_id(struct fx_replica *replica, const struct ipc_message *question, void *argument)
{
    (void)replica;
    (void)argument;
    others_id = question->id;
    return false;
}

/* A question that is open makes no wrong answer right; the release goes on without this one. */
static void test_wrong_answers(void **state)
{
    struct keeper_fixture *fx = *state;
    unsigned all = restarts(fx);

    fx->replicas[2].lie = note_id;
    for (enum wrong how = WRONG_ID; how < WRONG_COUNT; how++) {
        unsigned before = fx->replicas[LIAR].restarts;

        fx->replicas[LIAR].lie = answer_wrongly;
        fx->replicas[LIAR].argument = &how;
        assert_int_equal(ask(fx, FX_AGENT_B), POLICY_ALLOW);
        fx_wait_restarts(fx, LIAR, before + 1);
        fx->replicas[LIAR].lie = NULL;
        fx_attach_prober(fx, LIAR);
        assert_int_equal(restarts(fx), ++all);
    }
    fx->replicas[2].lie = NULL;
}

/* The same where it is asked for the echo, and says all else as it is. */
static bool echo_wrongly(struct fx_replica *replica, const struct ipc_message *question,
                         void *argument)
{
    enum wrong how = *(const enum wrong *)argument;
    const struct ipc_probe_session session = {PROBE_ANSWERED, true};
    const struct probe_echo echo = {.outcome = PROBE_ANSWERED, .is_found = true};
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    uint64_t id = question->id;

    if (question->type != IPC_PROBE_ASK_ECHO)
        return false;
    if (how == WRONG_ID)
        id += 1000;
    else if (how == WRONG_ZERO)
        id = 0;
    else if (how == WRONG_OTHERS)
        id = others_id;
    if (how == WRONG_TYPE)
        ipc_put_probe_session(&writer, &session);
    else
        ipc_put_probe_echo(&writer, &echo);
    for (int i = 0; i < (how == WRONG_TWICE ? 2 : 1); i++)
        (void)!ipc_send(replica->fd, how == WRONG_TYPE ? IPC_PROBE_SESSION : IPC_PROBE_ECHO, id,
                        &writer, FX_DEADLINE_MS);
    return true;
}

static void test_wrong_echoes(void **state)
{
    static const enum wrong hows[] = {WRONG_ID, WRONG_ZERO, WRONG_TYPE, WRONG_TWICE, WRONG_OTHERS};
    struct keeper_fixture *fx = *state;
    unsigned all = restarts(fx);

    spread_echo(fx, FX_AGENT_B);
    fx->replicas[2].lie = note_id;
    for (size_t i = 0; i < ARRAY_LEN(hows); i++) {
        enum wrong how = hows[i];
        unsigned before = fx->replicas[LIAR].restarts;

        fx->replicas[LIAR].lie = echo_wrongly;
        fx->replicas[LIAR].argument = &how;
        assert_int_equal(ask(fx, FX_AGENT_B), POLICY_ALLOW);
        fx_wait_restarts(fx, LIAR, before + 1);
        fx->replicas[LIAR].lie = NULL;
        fx_attach_prober(fx, LIAR);
        assert_int_equal(restarts(fx), ++all);
    }
    fx->replicas[2].lie = NULL;
}

static uint64_t kept[8]; /* ids */
static size_t kept_count;

static bool keep(struct fx_replica *replica, const struct ipc_message *question, void *argument)
{
    (void)replica;
    (void)argument;
    if (question->type == IPC_PROBE_ASK_STATE && kept_count < ARRAY_LEN(kept))
        kept[kept_count++] = question->id;
    return true;
}

/* Answers when the decision is made long since: nobody's, and no crime. Once more is one. */
static void test_too_late(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(ipc_writer_deinit) struct ipc_writer writer = {0};
    unsigned before = fx->replicas[LIAR].restarts;

    fx->replicas[LIAR].lie = keep;
    assert_int_equal(ask(fx, FX_AGENT_B), POLICY_ALLOW);
    fx->replicas[LIAR].lie = NULL;
    assert_true(kept_count > 0);
    fx_set_primary(fx, LIAR);
    ipc_put_probe_state(&writer, &fx->replicas[LIAR].state);
    fx_set_primary(fx, PRIMARY);
    for (size_t i = 0; i < kept_count; i++)
        assert_int_equal(
            ipc_send(fx->replicas[LIAR].fd, IPC_PROBE_STATE, kept[i], &writer, FX_DEADLINE_MS),
            ESCROW_OK);
    assert_int_equal(ask(fx, FX_AGENT_B), POLICY_ALLOW);
    assert_int_equal(fx->replicas[LIAR].restarts, before);
    assert_kills(fx, make_packet(IPC_PROBE_STATE, kept[0], writer.bytes, writer.len), 0);
}

/* It neither reads nor answers: what is asked of it stays bounded, and the others decide. */
static void test_prober_that_never_reads(void **state)
{
    struct keeper_fixture *fx = *state;
    int fd = fx->replicas[LIAR].fd;

    fx->replicas[LIAR].fd = -1;
    for (int i = 0; i < 6; i++)
        assert_int_equal(ask(fx, FX_AGENT_B), POLICY_ALLOW);
    assert_true(fx_ping(fx) < 2000);
    fx->replicas[LIAR].fd = fd;
    assert_int_equal(ask(fx, FX_AGENT_B), POLICY_ALLOW);
}

/* ---- frame ---- */

static int set_up(void **state)
{
    struct keeper_fixture *fx;

    fx_setup_ready(state);
    fx = *state;
    fx_run_with(fx, "    brake: 1000\n    retries: 100\n");
    fx_set_primary(fx, PRIMARY);
    fx_wait_primary(fx, "node-b");
    return 0;
}

/* The same with an echo, and with less need of witnesses than any policy should have. */
static int set_up_echo(void **state)
{
    struct keeper_fixture *fx;
    int result = set_up(state);

    fx = *state;
    fx_run_with(fx, "    echo: true\n    witnesses: 1\n");
    fx_wait_primary(fx, "node-b");
    return result;
}

static int look(void **state)
{
    struct keeper_fixture *fx = *state;
    CLEANUP(json_free_p) json_t *records = fx_log(fx);

    sequence = json_array_size(records) + 1;
    fx_set_primary(fx, PRIMARY);
    return 0;
}

#define HOSTILE(test) cmocka_unit_test_setup(test, look)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOSTILE(test_every_cut), HOSTILE(test_values_out_of_range),     HOSTILE(test_wrong_answers),
        HOSTILE(test_too_late),  HOSTILE(test_prober_that_never_reads), HOSTILE(test_lies),
    };

    static const struct CMUnitTest with_echo[] = {
        HOSTILE(test_wrong_echoes),
        HOSTILE(test_lies_about_the_echo),
        HOSTILE(test_liar_alone_has_no_echo),
    };
    int failed;

    wall_clock_share();
    failed = cmocka_run_group_tests(tests, set_up, fx_teardown);
    return failed + cmocka_run_group_tests(with_echo, set_up_echo, fx_teardown);
}
