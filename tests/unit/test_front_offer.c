/* SPDX-License-Identifier: Apache-2.0 */
/* What front says about credentials that it was offered. */
#include "libescrow/cleanup.h"
#include "libescrow/ipc_channel.h"
#include "tests/unit/front_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LOST 2

static unsigned to_lose; /* in front's process: so many answers are not sent */

/* NOLINTBEGIN(readability-identifier-naming) */
enum escrow_err __real_ipc_channel_send(struct ipc_channel *channel, uint32_t type, uint64_t id,
                                        const struct ipc_writer *writer);
enum escrow_err __wrap_ipc_channel_send(struct ipc_channel *channel, uint32_t type, uint64_t id,
                                        const struct ipc_writer *writer);
enum escrow_err __wrap_ipc_channel_send(struct ipc_channel *channel, uint32_t type, uint64_t id,
                                        const struct ipc_writer *writer)
/* NOLINTEND(readability-identifier-naming) */
{
    if (type == IPC_RELOADED && to_lose > 0) {
        to_lose--;
        return ESCROW_ERR_NO_MEMORY;
    }
    return __real_ipc_channel_send(channel, type, id, writer);
}

static void lose_answers(void)
{
    to_lose = LOST;
}

/* The supervisor makes no other offer before it has the answer. */
static void test_an_answer_without_memory_is_sent_later_and_once(void **state)
{
    struct front_fixture fx;

    (void)state;
    ff_start(&fx, &(struct ff_options){.request_ms = FF_DEADLINE_MS, .in_front = lose_answers});
    ff_reload(&fx);
    for (int waited_ms = 0; fx.reloads == 0 && waited_ms < FF_DEADLINE_MS; waited_ms += 100)
        ff_turn(&fx, NULL, 0, 100);
    assert_int_equal(fx.reloads, 1);
    ff_reload(&fx);
    ff_ping(&fx, 1);
    assert_int_equal(fx.reloads, 2);
    ff_stop(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_without_memory_is_sent_later_and_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
