/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups in which all but one may lie together: every choice of liars and of silent replicas among
 * five and nine, for a candidate that is not the primary. What holds then stands in SECURITY.md.
 */
#include "policy_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CANDIDATE B /* a liar; A is the true primary */

enum honesty { HONEST, LIAR, SILENT, HONESTIES };

/* What becomes of A: it answers, or it cannot be reached in one of three ways. */
enum reach { HEARD, MUTE, DEAD, PENDING, REACHES };

static struct scene scene;

static void set_reach(enum reach reach)
{
    switch (reach) {
    case MUTE:
        scene_silent(&scene, A);
        break;
    case DEAD:
        scene_dead(&scene, A);
        break;
    case PENDING: /* the time for rivals is over */
        scene_pending(&scene, A);
        break;
    default:
        scene_says(&scene, A, PRIMARY, "SQLA");
    }
}

/* Returns how many name the candidate, itself counted. */
static size_t set_others(size_t replicas, unsigned choice)
{
    size_t named = 1;

    scene_says(&scene, CANDIDATE, PRIMARY, "SQLB");
    for (size_t i = CANDIDATE + 1; i < replicas; i++, choice /= HONESTIES) {
        switch ((enum honesty)(choice % HONESTIES)) {
        case LIAR:
            scene_says(&scene, i, SECONDARY, "SQLB");
            named++;
            break;
        case SILENT:
            scene_silent(&scene, i);
            break;
        default:
            scene_says(&scene, i, SECONDARY, "SQLA");
        }
    }
    return named;
}

static void pose(size_t replicas, int32_t cluster, enum reach reach, unsigned choice)
{
    size_t majority = replicas / 2 + 1, named;
    enum policy_outcome expected = POLICY_DENY, outcome;

    scene_init(&scene, replicas, cluster);
    scene_asks(&scene, CANDIDATE);
    scene_records(&scene, A, POLICY_ORIGIN_BASELINE);
    scene.facts.elapsed_ms = 1000;
    set_reach(reach);
    named = set_others(replicas, choice);
    if (named >= majority)
        expected = reach == HEARD ? POLICY_NEEDS_APPROVAL : POLICY_ALLOW;
    outcome = scene_decide(&scene);
    if (outcome != expected && !(expected == POLICY_DENY && outcome == POLICY_WAIT))
        fail_msg("%zu replicas, %zu name the liar, choice %u, primary %d: %s", replicas, named,
                 choice, (int)reach, policy_outcome_name(outcome));
}

static void pose_all(size_t replicas, int32_t cluster)
{
    unsigned choices = 1;

    for (size_t i = CANDIDATE + 1; i < replicas; i++)
        choices *= HONESTIES;
    for (int reach = HEARD; reach < REACHES; reach++) {
        for (unsigned choice = 0; choice < choices; choice++)
            pose(replicas, cluster, (enum reach)reach, choice);
    }
}

static void test_all_but_one_of_five(void **state)
{
    (void)state;
    pose_all(5, WSFC);
    pose_all(5, EXTERNAL);
}

static void test_all_but_one_of_nine(void **state)
{
    (void)state;
    pose_all(9, WSFC);
    pose_all(9, EXTERNAL);
}

/* What a choice of the others comes to with rule 7: a liar also says that it found the nonce, which
 * no honest replica gets from a candidate that is not its primary. */
static enum policy_outcome decide_with_echo(size_t replicas, int32_t cluster, unsigned choice)
{
    scene_init(&scene, replicas, cluster);
    scene.rules.wants_echo = true;
    scene.rules.witness_count = 1;
    scene_asks(&scene, CANDIDATE);
    scene_records(&scene, A, POLICY_ORIGIN_BASELINE);
    scene.facts.elapsed_ms = 1000;
    scene_dead(&scene, A);
    set_others(replicas, choice);
    scene_of(&scene, CANDIDATE)->echo = POLICY_ECHO_FOUND;
    for (size_t i = CANDIDATE + 1; i < replicas; i++, choice /= HONESTIES)
        scene_of(&scene, i)->echo =
            choice % HONESTIES == LIAR ? POLICY_ECHO_FOUND : POLICY_ECHO_MISSING;
    return scene_decide(&scene);
}

static bool has_liar(unsigned choice)
{
    for (; choice > 0; choice /= HONESTIES) {
        if (choice % HONESTIES == LIAR)
            return true;
    }
    return false;
}

/* Where one witness is enough, a liar that cuts off the others needs another one for the echo. */
static void test_liar_alone_has_no_echo(void **state)
{
    size_t allowed = 0, alone = 0;

    (void)state;
    for (unsigned choice = 0; choice < HONESTIES * HONESTIES * HONESTIES; choice++) {
        enum policy_outcome with = decide_with_echo(5, WSFC, choice), without;

        scene.rules.wants_echo = false;
        without = scene_decide(&scene);
        assert_int_equal(with, without == POLICY_ALLOW && !has_liar(choice) ? POLICY_NEEDS_APPROVAL
                                                                            : without);
        allowed += with == POLICY_ALLOW;
        alone += with == POLICY_NEEDS_APPROVAL;
    }
    /* SECURITY.md: one secondary that lies as well is enough, and a liar that is alone is not. */
    assert_true(allowed > 0);
    assert_true(alone > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_but_one_of_five),
        cmocka_unit_test(test_all_but_one_of_nine),
        cmocka_unit_test(test_liar_alone_has_no_echo),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
