/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the open connections gives way, and that known ones cost nothing. */
#include "escrowd/front_crowd.h"
#include "libescrow/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 2000

static bool always(const struct front_member *member)
{
    (void)member;
    return true;
}

static bool if_before_three(const struct front_member *member)
{
    return member->since_ms < 3;
}

static void test_the_oldest_stranger_gives_way(void **state)
{
    struct front_crowd crowd;
    struct front_member members[4] = {0};

    (void)state;
    front_crowd_init(&crowd);
    assert_null(front_crowd_oldest_stranger(&crowd));
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        front_crowd_enter(&crowd, &members[i], (int64_t)i);
    assert_ptr_equal(front_crowd_oldest_stranger(&crowd), &members[0]);
    front_crowd_identify(&crowd, &members[0], "spiffe://x/a");
    assert_ptr_equal(front_crowd_oldest_stranger(&crowd), &members[1]);
    /* Told to end, it keeps its place and is not told again. */
    front_crowd_leave(&crowd, &members[1]);
    assert_ptr_equal(front_crowd_oldest_stranger(&crowd), &members[2]);
    assert_int_equal(crowd.count, 4);
    front_crowd_remove(&crowd, &members[1]);
    front_crowd_remove(&crowd, &members[2]);
    front_crowd_remove(&crowd, &members[2]);
    assert_int_equal(crowd.count, 2);
    assert_ptr_equal(front_crowd_oldest_stranger(&crowd), &members[3]);
    front_crowd_leave(&crowd, &members[3]);
    front_crowd_leave(&crowd, &members[0]);
    assert_null(front_crowd_oldest_stranger(&crowd));
}

static void test_one_that_never_came_may_go(void **state)
{
    struct front_crowd crowd;
    struct front_member member = {0};

    (void)state;
    front_crowd_init(&crowd);
    front_crowd_leave(&crowd, &member);
    front_crowd_remove(&crowd, &member);
    assert_int_equal(crowd.count, 0);
}

static void test_of_an_identity(void **state)
{
    static const char *const identities[] = {"a", "b", "a", "a", "a", ""};
    struct front_crowd crowd;
    struct front_member members[ARRAY_LEN(identities)] = {0}, *oldest;

    (void)state;
    front_crowd_init(&crowd);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        front_crowd_enter(&crowd, &members[i], (int64_t)i);
        if (identities[i][0])
            front_crowd_identify(&crowd, &members[i], identities[i]);
    }
    assert_int_equal(front_crowd_of(&crowd, "a", always, &oldest), 4);
    assert_ptr_equal(oldest, &members[0]);
    front_crowd_leave(&crowd, &members[0]);
    assert_int_equal(front_crowd_of(&crowd, "a", if_before_three, &oldest), 3);
    assert_ptr_equal(oldest, &members[2]);
    front_crowd_leave(&crowd, &members[2]);
    assert_int_equal(front_crowd_of(&crowd, "a", if_before_three, &oldest), 2);
    assert_null(oldest);
    assert_int_equal(front_crowd_of(&crowd, "c", always, &oldest), 0);
}

/* One member a page. */
static struct front_member *at(uint8_t *pages, size_t page, size_t index)
{
    return (struct front_member *)(void *)(pages + index * page);
}

/*
 * Not counted but forbidden: the memory of all known ones cannot be read while it is asked who
 * gives way. Both ends of the list and the neighbours of the strangers are known ones.
 */
static void test_known_ones_are_not_looked_at(void **state)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct front_member *strangers[] = {NULL, NULL};
    struct front_crowd crowd;
    uint8_t *pages =
        mmap(NULL, MANY * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(pages != MAP_FAILED);
    front_crowd_init(&crowd);
    for (size_t i = 0; i < MANY; i++)
        front_crowd_enter(&crowd, at(pages, page, i), (int64_t)i);
    strangers[0] = at(pages, page, MANY / 2);
    strangers[1] = at(pages, page, MANY / 2 + 100);
    for (size_t i = 0; i < MANY; i++) {
        struct front_member *member = at(pages, page, i);

        if (member == strangers[0] || member == strangers[1])
            continue;
        front_crowd_identify(&crowd, member, "spiffe://x/known");
        assert_int_equal(mprotect(member, page, PROT_NONE), 0);
    }
    assert_ptr_equal(front_crowd_oldest_stranger(&crowd), strangers[0]);
    front_crowd_leave(&crowd, strangers[0]);
    assert_ptr_equal(front_crowd_oldest_stranger(&crowd), strangers[1]);
    front_crowd_leave(&crowd, strangers[1]);
    assert_null(front_crowd_oldest_stranger(&crowd));
    assert_int_equal(munmap(pages, MANY * page), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_oldest_stranger_gives_way),
        cmocka_unit_test(test_one_that_never_came_may_go),
        cmocka_unit_test(test_of_an_identity),
        cmocka_unit_test(test_known_ones_are_not_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
