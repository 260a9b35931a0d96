/* SPDX-License-Identifier: Apache-2.0 */
#include "client/worker_choice.h"
#include "libescrow/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A challenge: a letter for each object ('a'ctive, 'p'ending, 'r'etired), named by its place. */
static struct answer *challenge_of(const char *states)
{
    struct answer *challenge = answer_new(ANSWER_CHALLENGE);

    assert_non_null(challenge);
    challenge->object_count = strlen(states);
    for (size_t i = 0; states[i]; i++) {
        challenge->objects[i].name.bytes[0] = (uint8_t)(i + 1);
        challenge->objects[i].state = states[i] == 'a'   ? SECRET_ACTIVE
                                      : states[i] == 'p' ? SECRET_PENDING
                                                         : SECRET_RETIRED;
    }
    return challenge;
}

/* What is asked for, round after round, when the database refuses all: "1 23", by place. */
static void rounds(const char *states, const char *expected)
{
    CLEANUP(answer_free_p) struct answer *challenge = challenge_of(states);
    struct worker_tried tried = {0};
    char seen[64];
    size_t used = 0;

    for (;;) {
        struct worker_choice choice = worker_choose(challenge, &tried);

        if (choice.count == 0)
            break;
        for (size_t i = 0; i < choice.count; i++)
            seen[used++] = (char)('1' + choice.index[i]);
        seen[used++] = ' ';
        assert_true(used + ACT_OBJECTS_MAX < sizeof(seen));
        worker_note_tried(&tried, challenge, &choice);
    }
    seen[used > 0 ? used - 1 : 0] = '\0';
    assert_string_equal(seen, expected);
}

static void test_rounds(void **state)
{
    (void)state;
    rounds("", "");
    rounds("a", "1");
    rounds("ar", "1 2");
    rounds("aprr", "1 234");
    rounds("rpa", "3 12"); /* wherever the active one stands */
    rounds("rr", "12");    /* none is active: all that there is */
    rounds("arrrrrrr", "1 2345678");
}

/* The list of what was tried is full: then nothing more is asked for, not even what is new. */
static void test_tried_is_bounded(void **state)
{
    CLEANUP(answer_free_p) struct answer *challenge = challenge_of("arrrrrrr");
    const struct worker_choice all = {.count = ACT_OBJECTS_MAX, .index = {0, 1, 2, 3, 4, 5, 6, 7}};
    struct worker_tried tried = {0};

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        worker_note_tried(&tried, challenge, &all);
    assert_int_equal(tried.count, WORKER_TRIED_MAX);
    challenge->objects[0].name.bytes[0] = 99;
    assert_int_equal(worker_choose(challenge, &tried).count, 0);
}

/* From what says most about the escrow to what says least. */
static void test_weights(void **state)
{
    static const enum worker_outcome order[] = {WORKER_WRONG_PASSWORD, WORKER_NEEDS_APPROVAL,
                                                WORKER_DENIED, WORKER_DISTRUSTED,
                                                WORKER_UNAVAILABLE};
    static const enum worker_outcome ours[] = {WORKER_DIED,
                                               WORKER_OPENED,
                                               WORKER_ALREADY_OPEN,
                                               WORKER_LOGIN_REFUSED,
                                               WORKER_SQL_UNREACHABLE,
                                               WORKER_SQL_FAILED,
                                               WORKER_NOT_PROVED,
                                               WORKER_LOCAL};

    (void)state;
    assert_int_equal(ARRAY_LEN(order) + ARRAY_LEN(ours), WORKER_OUTCOMES);
    for (size_t i = 0; i + 1 < ARRAY_LEN(order); i++)
        assert_true(worker_weight(order[i]) > worker_weight(order[i + 1]));
    assert_true(worker_weight(WORKER_UNAVAILABLE) > 0);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        assert_int_equal(worker_weight(ours[i]), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_tried_is_bounded),
        cmocka_unit_test(test_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
