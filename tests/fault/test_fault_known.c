/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/store_trust.h"
#include "libescrow/audit_record.h"
#include "libescrow/ipc_channel.h"
#include "libescrow/json.h"
#include "libescrow/jws.h"
#include "libescrow/key.h"
#include "tests/fault/inject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Failures that once were taken for something else, each by itself. */

#define KEEPS_FAILING 1000000
#define CALLS_MAX 1000

/* ---- a channel whose kernel lacks memory ---- */

#define MSG_NOTE 1
#define LOOK_MS 150
#define TRIES_MAX 20 /* in LOOK_MS; a loop that does nothing else makes thousands */

struct ends {
    struct event_base *base;
    struct ipc_channel *channel;
    struct ipc_buffer *buffer;
    int peer;
    unsigned received, closed;
};

static enum escrow_err on_note(struct ipc_channel *channel, const struct ipc_message *message,
                               void *argument)
{
    struct ends *ends = argument;

    (void)channel;
    (void)message;
    ends->received++;
    return ESCROW_OK;
}

static void on_close(struct ipc_channel *channel, enum ipc_closed why, void *argument)
{
    struct ends *ends = argument;

    (void)channel;
    (void)why;
    ends->closed++;
}

static void ends_deinit(struct ends *ends)
{
    ipc_channel_free(ends->channel);
    ipc_buffer_free(ends->buffer);
    event_base_free(ends->base);
    cleanup_close(&ends->peer);
}

static void ends_init(struct ends *ends)
{
    static const struct ipc_permit permits[] = {
        {.type = MSG_NOTE, .states = IPC_ANY_STATE, .handler = on_note}};
    struct ipc_channel_config config = {.name = "peer",
                                        .permits = permits,
                                        .permit_count = ARRAY_LEN(permits),
                                        .state = 1,
                                        .is_in_turn = true,
                                        .on_close = on_close,
                                        .argument = ends};
    int fds[2];

    assert_int_equal(ipc_pair(fds), ESCROW_OK);
    ends->base = config.base = event_base_new();
    ends->buffer = ipc_buffer_new();
    ends->peer = fds[1];
    assert_int_equal(ipc_channel_new(&config, fds[0], &ends->channel), ESCROW_OK);
}

static void run(struct ends *ends)
{
    const struct timeval look = {.tv_usec = LOOK_MS * 1000L};

    assert_int_equal(event_base_loopexit(ends->base, &look), 0);
    assert_int_equal(event_base_dispatch(ends->base), 0);
}

/* The loop runs while no call of a socket has its memory. */
static void run_without_memory(struct ends *ends)
{
    struct inject_report report;

    run(ends);
    inject_disarm(&report);
    assert_in_range(report.failed, 2, TRIES_MAX);
    assert_int_equal(ends->closed, 0);
}

static void test_channel_rests_while_the_kernel_lacks_memory(void **state)
{
    const struct inject_order order = {.class = INJECT_SOCKET, .at = 1, .span = KEEPS_FAILING};
    CLEANUP(ends_deinit) struct ends ends = {0};
    struct ipc_message message;

    (void)state;
    ends_init(&ends);
    inject_arm(&order);
    assert_int_equal(ipc_channel_send(ends.channel, MSG_NOTE, 1, NULL), ESCROW_OK);
    run_without_memory(&ends);
    run(&ends);
    assert_int_equal(ipc_try_receive(ends.peer, ends.buffer, &message), ESCROW_OK);

    assert_int_equal(ipc_send(ends.peer, MSG_NOTE, 2, NULL, LOOK_MS), ESCROW_OK);
    inject_arm(&order);
    run_without_memory(&ends);
    assert_int_equal(ends.received, 0);
    run(&ends);
    assert_int_equal(ends.received, 1);
    assert_int_equal(ends.closed, 0);
}

/* ---- documents that lack members ---- */

static EVP_PKEY *one_key(const struct tpm_name *kid, void *argument)
{
    (void)kid;
    return argument;
}

static void assert_whole(const char *compact, EVP_PKEY *key)
{
    static const char *const members[] = {"aud", NULL};
    struct jws jws;

    assert_int_equal(jws_verify(compact, strlen(compact), "test", members, one_key, key, &jws),
                     ESCROW_OK);
    assert_int_equal(json_object_size(jws.header), 4);
    assert_int_equal(json_object_size(jws.payload), 3);
    jws_deinit(&jws);
}

static void test_nothing_is_signed_that_lacks_a_member(void **state)
{
    CLEANUP(key_free_p) EVP_PKEY *key = key_generate();
    CLEANUP(json_free_p) json_t *header = json_pack("{s:s, s:s}", "typ", "test", "aud", "somebody");
    CLEANUP(json_free_p)
    json_t *payload = json_pack("{s:i, s:s, s:[i,i]}", "a", 1, "b", "text", "c", 2, 3);
    struct jws_signer signer;
    unsigned at = 0, refused = 0;
    bool is_over = false;

    (void)state;
    assert_int_equal(jws_signer_from_key(key, &signer), ESCROW_OK);
    while (!is_over && at++ < CALLS_MAX) {
        const struct inject_order order = {.class = INJECT_MEMORY, .at = at, .span = 1};
        CLEANUP(cleanup_free) char *compact = NULL;
        struct inject_report report;
        enum escrow_err err;

        inject_arm(&order);
        err = jws_sign(&signer, header, payload, &compact);
        inject_disarm(&report);
        assert_int_equal(err == ESCROW_OK, compact != NULL);
        if (compact)
            assert_whole(compact, key);
        refused += err != ESCROW_OK;
        is_over = report.failed == 0;
    }
    assert_true(is_over && refused > 5);
}

/* ---- the log ---- */

static void test_want_of_memory_is_not_tampering(void **state)
{
    const struct audit_record record = {
        .sequence = 1, .event = AUDIT_START, .time_ms = 1700000000000, .actor = "spiffe://x/y"};
    CLEANUP(cleanup_free) char *line = NULL;
    unsigned at = 0, refused = 0;
    bool is_over = false;
    size_t len;

    (void)state;
    assert_int_equal(audit_record_encode(&record, &line, &len), ESCROW_OK);
    while (!is_over && at++ < CALLS_MAX) {
        const struct inject_order order = {.class = INJECT_MEMORY, .at = at, .span = 1};
        CLEANUP(audit_record_deinit) struct audit_record parsed = {0};
        struct inject_report report;
        enum escrow_err err;

        inject_arm(&order);
        err = audit_record_parse(line, len, &parsed);
        inject_disarm(&report);
        is_over = report.failed == 0;
        assert_int_equal(err == ESCROW_OK, is_over);
        assert_int_not_equal(err, ESCROW_ERR_MALFORMED);
        refused += err == ESCROW_ERR_NO_MEMORY;
    }
    assert_true(is_over && refused > 20);
}

/* ---- the store ---- */

static struct store *open_store(char ret_path[static 300])
{
    const char *base = getenv("TMPDIR");
    struct store *store = NULL;

    snprintf(ret_path, 300, "%.200s/store.XXXXXX", base ? base : "/tmp");
    close(mkstemp(ret_path));
    assert_int_equal(store_open(ret_path, &store), ESCROW_OK);
    return store;
}

static void close_store(struct store *store, const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};

    store_close(store);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char file[320];

        snprintf(file, sizeof(file), "%s%s", path, suffixes[i]);
        unlink(file);
    }
}

/* Reads roster and end of the log under an order; what is read must be right. */
static struct inject_report read_under(struct store *store, const struct inject_order *order,
                                       const struct audit_chain *folded, unsigned *refused)
{
    CLEANUP(cleanup_free) char *compact = NULL;
    struct audit_chain read = {0};
    struct inject_report report;
    enum escrow_err of_roster, of_folded;

    inject_arm(order);
    of_roster = store_roster(store, &compact);
    of_folded = store_folded(store, &read);
    inject_disarm(&report);
    assert_true(of_roster ? !compact : strcmp(compact, "a roster") == 0);
    if (!of_folded)
        assert_memory_equal(read.hash, folded->hash, sizeof(read.hash));
    *refused += of_roster != ESCROW_OK;
    *refused += of_folded != ESCROW_OK;
    return report;
}

/* SQLite hands out NULL for what it has no memory to convert: that is no empty text, nor a hash. */
static void test_want_of_memory_is_not_an_empty_text(void **state)
{
    static const enum inject_class classes[] = {INJECT_STORE, INJECT_MEMORY};
    const struct audit_chain folded = {.sequence = 7, .hash = {1, 2, 3}, .time_ms = 8};
    unsigned refused = 0;
    char path[300];
    struct store *store = open_store(path);

    (void)state;
    assert_int_equal(store_set_roster(store, 1, "a roster"), ESCROW_OK);
    assert_int_equal(store_set_folded(store, &folded), ESCROW_OK);
    /* The store keeps its statements: from now on each reading makes the same calls. */
    (void)read_under(store, NULL, &folded, &refused);
    assert_int_equal(refused, 0);
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        struct inject_report report = {.failed = 1};

        for (unsigned at = 1; report.failed; at++) {
            const struct inject_order order = {.class = classes[i], .at = at, .span = 1};

            assert_true(at < CALLS_MAX);
            report = read_under(store, &order, &folded, &refused);
        }
    }
    assert_true(refused >= 4);
    close_store(store, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_rests_while_the_kernel_lacks_memory),
        cmocka_unit_test(test_nothing_is_signed_that_lacks_a_member),
        cmocka_unit_test(test_want_of_memory_is_not_tampering),
        cmocka_unit_test(test_want_of_memory_is_not_an_empty_text),
    };

    inject_init();
    inject_here();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
