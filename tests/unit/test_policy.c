/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/file.h"
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TWO                                                                                        \
    "groups:\n"                                                                                    \
    "  - name: g\n"                                                                                \
    "    availability_group: AG\n"                                                                 \
    "    databases: [SSISDB]\n"                                                                    \
    "    replicas: [{instance: a, server_name: A}, {instance: b, server_name: B}]\n"
#define THREE                                                                                      \
    "groups:\n"                                                                                    \
    "  - name: g\n"                                                                                \
    "    availability_group: AG\n"                                                                 \
    "    databases: [SSISDB]\n"                                                                    \
    "    replicas:\n"                                                                              \
    "      - {instance: a, server_name: A}\n"                                                      \
    "      - {instance: b, server_name: B}\n"                                                      \
    "      - {instance: c, server_name: C}\n"

static enum escrow_err load(const char *text, struct config_report *report,
                            struct policy **ret_policy)
{
    return policy_load_bytes(text, strlen(text), "p.yaml", report, ret_policy);
}

static void test_defaults(void **state)
{
    CLEANUP(policy_free_p) struct policy *policy = NULL;
    struct config_report report = {0};
    const struct policy_group *group;

    (void)state;
    assert_int_equal(load(THREE, &report, &policy), ESCROW_OK);
    assert_int_equal(policy_groups(policy, &group), 1);
    assert_ptr_equal(policy_find_group(policy, "g"), group);
    assert_null(policy_find_group(policy, "G"));
    assert_string_equal(group->availability_group, "AG");
    assert_int_equal(group->cluster_type, POLICY_CLUSTER_ANY);
    assert_int_equal(group->witnesses, POLICY_WITNESSES_COUNT);
    assert_int_equal(group->witness_count, 2);
    assert_int_equal(group->rival_wait_ms, 300);
    assert_int_equal(group->dead_for_ms, 5000);
    assert_int_equal(group->window_ms, 86400000);
    assert_int_equal(group->retries, 5);
    assert_int_equal(group->brake, 6);
    assert_int_equal(group->on_restart, POLICY_RESTART_APPROVAL);
    assert_false(group->wants_echo);
    assert_int_equal(group->approvals, 2);
    assert_int_equal(group->approval_expiry_ms, 3600000);
    assert_string_equal(policy_find_replica(group, "b")->server_name, "B");
    assert_null(policy_find_replica(group, "B"));
    assert_ptr_equal(policy_find_server(group, "b"), &group->replicas[1]);
    assert_null(policy_find_server(group, "D"));
    assert_true(policy_has_database(group, "SSISDB"));
    assert_false(policy_has_database(group, "ssisdb"));
}

static void test_settings(void **state)
{
    static const char text[] = TWO "    cluster_type: wsfc\n"
                                   "    witnesses: candidate+silence\n"
                                   "    rival_wait: 1s\n"
                                   "    dead_for: 10s\n"
                                   "    window: 1h\n"
                                   "    retries: 0\n"
                                   "    brake: 1\n"
                                   "    on_restart: allow\n"
                                   "    echo: true\n"
                                   "    approvals: 3\n"
                                   "    approval_expiry: 10m\n";
    CLEANUP(policy_free_p) struct policy *policy = NULL;
    struct config_report report = {0};
    const struct policy_group *group;

    (void)state;
    assert_int_equal(load(text, &report, &policy), ESCROW_OK);
    policy_groups(policy, &group);
    assert_int_equal(group->cluster_type, POLICY_CLUSTER_WSFC);
    assert_int_equal(group->witnesses, POLICY_WITNESSES_SILENCE);
    assert_int_equal(group->witness_count, 2);
    assert_int_equal(group->rival_wait_ms, 1000);
    assert_int_equal(group->dead_for_ms, 10000);
    assert_int_equal(group->window_ms, 3600000);
    assert_int_equal(group->retries, 0);
    assert_int_equal(group->brake, 1);
    assert_int_equal(group->on_restart, POLICY_RESTART_ALLOW);
    assert_true(group->wants_echo);
    assert_int_equal(group->approvals, 3);
    assert_int_equal(group->approval_expiry_ms, 600000);
}

static void test_majority_of_each_size(void **state)
{
    static const size_t majorities[] = {
        [2] = 2, [3] = 2, [4] = 3, [5] = 3, [6] = 4, [7] = 4, [8] = 5, [9] = 5};

    (void)state;
    for (size_t count = 2; count <= POLICY_REPLICAS_MAX; count++) {
        CLEANUP(policy_free_p) struct policy *policy = NULL;
        struct config_report report = {0};
        const struct policy_group *group;
        char text[2000];
        size_t len = (size_t)snprintf(text, sizeof(text),
                                      "groups:\n- name: g\n  availability_group: AG\n"
                                      "  databases: [x]\n  replicas:\n");

        for (size_t i = 0; i < count; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len,
                                    "  - {instance: i%zu, server_name: S%zu}\n", i, i);
        assert_int_equal(load(text, &report, &policy), ESCROW_OK);
        policy_groups(policy, &group);
        assert_int_equal(group->witness_count, majorities[count]);
    }
}

static const struct {
    const char *text, *line;
} wrong[] = {
    {"groups: []\n", "p.yaml:1:9: groups: found a list of 0"},
    {TWO "    witnesses: 3\n", "p.yaml:6:16: witnesses: found '3', expected majority, "
                               "candidate+silence or a number from 1 to 2"},
    {TWO "    witnesses: 0\n", "p.yaml:6:16: witnesses: found '0', expected"},
    {TWO "    witnesses: 02\n", "p.yaml:6:16: witnesses: found '02', expected"},
    {TWO "    witnesses: 12\n", "p.yaml:6:16: witnesses: found '12', expected"},
    {TWO "    witnesses: most\n", "p.yaml:6:16: witnesses: found 'most', expected"},
    {THREE "    witnesses: candidate+silence\n",
     "p.yaml:9:16: witnesses: found candidate+silence with 3 replicas, expected it only with two"},
    {TWO "    witnesses: candidate+silence\n",
     "p.yaml:6:16: witnesses: found candidate+silence without cluster_type: wsfc"},
    {TWO "    witnesses: candidate+silence\n    cluster_type: external\n",
     "p.yaml:6:16: witnesses: found candidate+silence without cluster_type: wsfc"},
    {TWO "    dead_for: 500ms\n",
     "p.yaml:6:15: dead_for: found '500ms', expected a duration from 1s to 10m"},
    {TWO "    rival_wait: 11s\n", "p.yaml:6:17: rival_wait: found '11s', expected a duration"},
    {TWO "    approvals: 0\n",
     "p.yaml:6:16: approvals: found '0', expected an integer from 1 to 9"},
    {TWO "    approvals: 10\n",
     "p.yaml:6:16: approvals: found '10', expected an integer from 1 to 9"},
    {TWO "    brake: 0\n", "p.yaml:6:12: brake: found '0', expected an integer from 1 to 1000"},
    {TWO "    on_restart: yes\n", "p.yaml:6:17: on_restart: found 'yes', expected one of approval"},
    {TWO "    echo: yes\n", "p.yaml:6:11: echo: found 'yes', expected true or false"},
    {TWO "    cluster_type: WSFC\n", "p.yaml:6:19: cluster_type: found 'WSFC', expected one of"},
    {"groups:\n- name: g\n  availability_group: AG\n  databases: [x]\n"
     "  replicas: [{instance: a, server_name: A}]\n",
     "p.yaml:5:13: replicas: found a list of 1, expected a list of 2 to 9 mappings"},
    {"groups:\n- name: g\n  availability_group: AG\n  databases: [x]\n"
     "  replicas: [{instance: a, server_name: A}, {instance: a, server_name: B}]\n",
     "p.yaml:5:56: instance: found 'a' again, expected each instance once in a group"},
    {"groups:\n- name: g\n  availability_group: AG\n  databases: [x]\n"
     "  replicas: [{instance: a, server_name: A}, {instance: b, server_name: a}]\n",
     "p.yaml:5:72: server_name: found 'a' again, expected each server once in a group"},
    {TWO "  - name: g\n    availability_group: AG2\n    databases: [y]\n"
         "    replicas: [{instance: a, server_name: a}, {instance: c, server_name: C}]\n",
     "p.yaml:6:11: name: found 'g' again, expected each group once"},
    {TWO "  - name: h\n    availability_group: AG2\n    databases: [y]\n"
         "    replicas: [{instance: a, server_name: X}, {instance: c, server_name: C}]\n",
     "p.yaml:9:43: server_name: found 'X' for instance a, expected 'A' as in group g"},
    {TWO "  - name: h\n    availability_group: ag\n    databases: [y]\n"
         "    replicas: [{instance: a, server_name: A}, {instance: c, server_name: C}]\n",
     "p.yaml:9:27: instance: found a with availability group 'ag', expected that only once"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        CLEANUP(config_report_deinit) struct config_report report = {0};
        struct policy *policy = NULL;

        assert_int_equal(load(wrong[i].text, &report, &policy), ESCROW_ERR_CONFIG);
        assert_null(policy);
        if (report.count != 1 ||
            strncmp(report.lines[0], wrong[i].line, strlen(wrong[i].line)) != 0)
            fail_msg("case %zu: %zu lines\n  %s\n  %s", i, report.count,
                     report.count ? report.lines[0] : "", wrong[i].line);
    }
}

static const struct {
    const char *text, *part; /* NULL: no warning at all */
} weak[] = {
    {THREE "    cluster_type: wsfc\n", NULL},
    {THREE "    cluster_type: wsfc\n    witnesses: 3\n", NULL},
    {THREE "    cluster_type: wsfc\n    rival_wait: 1s\n    window: 1h\n    retries: 0\n"
           "    brake: 1\n",
     NULL},
    {THREE, "p.yaml:2:5: group g: without cluster_type the candidate itself says"},
    {THREE "    cluster_type: wsfc\n    witnesses: 1\n",
     "p.yaml:10:16: group g: 1 of 3 witnesses is no majority: whoever controls 1 of"},
    {TWO "    cluster_type: wsfc\n",
     "p.yaml:2:5: group g: both of two replicas must be up for a release"},
    {TWO "    cluster_type: wsfc\n    witnesses: candidate+silence\n",
     "p.yaml:7:16: group g: candidate+silence trusts the candidate and the quorum"},
    {THREE "    cluster_type: wsfc\n    rival_wait: 0s\n",
     "p.yaml:10:17: group g: a second primary that answers later than 0 ms"},
    {THREE "    cluster_type: wsfc\n    window: 2d\n",
     "p.yaml:10:13: group g: a promotion can still be claimed 48 hours later"},
    {THREE "    cluster_type: wsfc\n    retries: 6\n",
     "p.yaml:10:14: group g: the new primary can get the secret 7 times"},
    {THREE "    cluster_type: wsfc\n    brake: 7\n",
     "p.yaml:10:12: group g: 7 releases of a database within an hour need no approval"},
    {THREE "    cluster_type: wsfc\n    on_restart: allow\n",
     "p.yaml:10:17: group g: a primary gets the secret without a promotion"},
    {THREE "    cluster_type: wsfc\n    echo: false\n", NULL},
    {THREE "    cluster_type: wsfc\n    echo: true\n",
     "p.yaml:10:11: group g: echo asks for a secondary that can be read"},
    {THREE "    cluster_type: wsfc\n    approvals: 1\n",
     "p.yaml:10:16: group g: one admin alone can approve a release"},
    {THREE "    cluster_type: wsfc\n    approvals: 3\n    approval_expiry: 1m\n", NULL},
    {THREE "    cluster_type: wsfc\n    approval_expiry: 2h\n",
     "p.yaml:10:22: group g: what was asked for can still be approved 120 minutes later"},
};

static void test_warnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(weak); i++) {
        CLEANUP(config_report_deinit) struct config_report report = {0};
        CLEANUP(policy_free_p) struct policy *policy = NULL;

        assert_int_equal(load(weak[i].text, &report, &policy), ESCROW_OK);
        policy_warnings(policy, &report);
        if (report.count != (weak[i].part ? 1 : 0) ||
            (weak[i].part && strncmp(report.lines[0], weak[i].part, strlen(weak[i].part)) != 0))
            fail_msg("case %zu: %zu warnings\n  %s\n  %s", i, report.count,
                     report.count ? report.lines[0] : "", weak[i].part);
    }
}

static void test_short_dead_for_warns_only_where_it_counts(void **state)
{
    static const char *const texts[] = {
        TWO "    cluster_type: wsfc\n    dead_for: 2s\n",
        TWO "    cluster_type: wsfc\n    dead_for: 2s\n    witnesses: candidate+silence\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CLEANUP(config_report_deinit) struct config_report report = {0};
        CLEANUP(policy_free_p) struct policy *policy = NULL;

        assert_int_equal(load(texts[i], &report, &policy), ESCROW_OK);
        policy_warnings(policy, &report);
        assert_int_equal(report.count, i + 1);
        if (i)
            assert_non_null(strstr(report.lines[1], "an old primary that hangs for 2000 ms"));
    }
}

/* Both need the other replica; a release by silence is one without it. */
static void test_echo_with_silence(void **state)
{
    static const char text[] = TWO "    cluster_type: wsfc\n    witnesses: candidate+silence\n"
                                   "    echo: true\n";
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(policy_free_p) struct policy *policy = NULL;

    (void)state;
    assert_int_equal(load(text, &report, &policy), ESCROW_OK);
    policy_warnings(policy, &report);
    assert_int_equal(report.count, 3);
    assert_non_null(strstr(report.lines[2], "p.yaml:8:11: group g: with echo, candidate+silence "
                                            "leads to an approval"));
}

static void test_examples(void **state)
{
    static const struct {
        const char *name;
        enum policy_witnesses witnesses;
        enum policy_cluster_type cluster_type;
        size_t replicas, witness_count, warnings;
    } cases[] = {
        {"three-replicas", POLICY_WITNESSES_COUNT, POLICY_CLUSTER_WSFC, 3, 2, 0},
        {"two-replicas", POLICY_WITNESSES_SILENCE, POLICY_CLUSTER_WSFC, 2, 2, 1},
        {"pacemaker", POLICY_WITNESSES_COUNT, POLICY_CLUSTER_EXTERNAL, 3, 2, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(config_report_deinit) struct config_report report = {0};
        CLEANUP(policy_free_p) struct policy *policy = NULL;
        const struct policy_group *group;
        char path[512];

        snprintf(path, sizeof(path), "%s/%s.yaml", ESCROW_EXAMPLES, cases[i].name);
        assert_int_equal(policy_load(path, &report, &policy), ESCROW_OK);
        policy_groups(policy, &group);
        assert_int_equal(group->witnesses, cases[i].witnesses);
        assert_int_equal(group->cluster_type, cases[i].cluster_type);
        assert_int_equal(group->replica_count, cases[i].replicas);
        assert_int_equal(group->witness_count, cases[i].witness_count);
        policy_warnings(policy, &report);
        assert_int_equal(report.count, cases[i].warnings);
    }
}

#define KEYS_MAX 32

/* The keys of the file, of a group, and of a replica: as the parser lists them where one is wrong.
 */
static size_t list_keys(char keys[static KEYS_MAX][64])
{
    static const char *const texts[] = {
        "x: 1\n",
        THREE "    x: 1\n",
        "groups:\n- name: g\n  availability_group: AG\n  databases: [d]\n"
        "  replicas: [{instance: a, server_name: A, x: 1}, {instance: b, server_name: B}]\n",
    };
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        CLEANUP(config_report_deinit) struct config_report report = {0};
        struct policy *policy = NULL;
        char *list, *rest = NULL;

        assert_int_equal(load(texts[i], &report, &policy), ESCROW_ERR_CONFIG);
        list = strstr(report.lines[0], "expected one of ");
        assert_non_null(list);
        for (char *key = strtok_r(list + strlen("expected one of "), ", ", &rest); key;
             key = strtok_r(NULL, ", ", &rest)) {
            assert_true(count < KEYS_MAX);
            snprintf(keys[count++], sizeof(keys[0]), "%s", key);
        }
    }
    return count;
}

/* The part of the manual page that describes the file, owned by the caller. */
static char *read_manual(void)
{
    CLEANUP(cleanup_free) char *manual = NULL;
    char *start, *end;
    size_t len;

    assert_int_equal(file_read(ESCROW_MANUAL, 65536, &manual, &len), ESCROW_OK);
    start = strstr(manual, "\n# GROUPS\n");
    assert_non_null(start);
    end = strstr(start, "\n# RULES\n");
    assert_non_null(end);
    return strndup(start, (size_t)(end - start) + 1);
}

/* Where a key is a term of its own: before its description. */
static const char *find_term(const char *manual, const char *key)
{
    char term[80];

    snprintf(term, sizeof(term), "*%s*\n", key);
    return strstr(manual, term);
}

static void test_manual_has_every_key(void **state)
{
    CLEANUP(cleanup_free) char *manual = read_manual();
    char keys[KEYS_MAX][64];
    size_t count = list_keys(keys);

    (void)state;
    assert_int_equal(count, 1 + 15 + 2);
    assert_non_null(strstr(manual, "*groups* is a list"));
    for (size_t i = 1; i < count; i++) {
        if (!find_term(manual, keys[i]))
            fail_msg("%s is not in the manual page", keys[i]);
    }
}

static bool is_key(const char *word)
{
    char keys[KEYS_MAX][64];
    size_t count = list_keys(keys);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i], word) == 0)
            return true;
    }
    return false;
}

static bool is_witnesses(const char *word)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(policy_free_p) struct policy *policy = NULL;
    char text[1024];

    snprintf(text, sizeof(text), TWO "    cluster_type: wsfc\n    witnesses: %s\n", word);
    return load(text, &report, &policy) == ESCROW_OK;
}

/* And every term of it is a key, or a word that stands for a number of witnesses. */
static void test_every_term_of_the_manual_is_known(void **state)
{
    CLEANUP(cleanup_free) char *manual = read_manual();
    char *rest = NULL;
    size_t terms = 0;

    (void)state;
    for (char *line = strtok_r(manual, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *word = line + strspn(line, "\t");
        size_t len = strlen(word);

        if (len < 3 || word[0] != '*' || strchr(word + 1, '*') != &word[len - 1])
            continue;
        word[len - 1] = '\0';
        if (!is_key(word + 1) && !is_witnesses(word + 1))
            fail_msg("%s is in the manual page only", word + 1);
        terms++;
    }
    assert_int_equal(terms, 15 + 2 + 2);
}

/* What the parser expects of this key: "a duration from 1s to 10m". False: no number. */
static bool find_limits(const char *key, char least[static 16], char most[static 16])
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    struct policy *policy = NULL;
    char text[1024];
    const char *expected;

    snprintf(text, sizeof(text), THREE "    %s: x\n", key);
    assert_int_equal(load(text, &report, &policy), ESCROW_ERR_CONFIG);
    expected = strstr(report.lines[0], "expected a");
    return expected &&
           (sscanf(expected, "expected a duration from %15s to %15s", least, most) == 2 ||
            sscanf(expected, "expected an integer from %15s to %15s", least, most) == 2);
}

/* The description of a key, its lines made one. */
static void describe(const char *manual, const char *key, char ret_text[static 1024])
{
    const char *start = find_term(manual, key), *end;
    size_t len = 0;

    assert_non_null(start);
    end = strstr(start, "\n\n");
    assert_non_null(end);
    for (const char *c = start; c < end && len < 1023; c++) {
        if (*c == '\t')
            ret_text[len++] = ' ';
        else if (*c != '\n')
            ret_text[len++] = *c;
    }
    ret_text[len] = '\0';
}

/* The value in the example that writes all defaults out (test_manual_example). */
static void find_default(const char *key, char ret_value[static 16])
{
    CLEANUP(cleanup_free) char *manual = NULL;
    char line[80];
    const char *found;
    size_t len;

    assert_int_equal(file_read(ESCROW_MANUAL, 65536, &manual, &len), ESCROW_OK);
    snprintf(line, sizeof(line), "\n    %s: ", key);
    found = strstr(strstr(manual, "```\n"), line);
    assert_non_null(found);
    assert_int_equal(sscanf(found + strlen(line), "%15s", ret_value), 1);
}

/* Limits and defaults of every number, as the parser has them. */
static void test_manual_has_every_limit(void **state)
{
    CLEANUP(cleanup_free) char *manual = read_manual();
    char keys[KEYS_MAX][64], least[16], most[16], fallback[16], text[1024], expected[80];
    size_t count = list_keys(keys), limits = 0;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        if (!find_limits(keys[i], least, most))
            continue;
        find_default(keys[i], fallback);
        snprintf(expected, sizeof(expected), "*%s* to *%s*, default *%s*", least, most, fallback);
        describe(manual, keys[i], text);
        if (!strstr(text, expected))
            fail_msg("%s: '%s' is not in '%s'", keys[i], expected, text);
        limits++;
    }
    assert_int_equal(limits, 7);
}

/* The example of the manual page loads, and writes the defaults out. */
static void test_manual_example(void **state)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(policy_free_p) struct policy *policy = NULL;
    CLEANUP(policy_free_p) struct policy *plain = NULL;
    CLEANUP(cleanup_free) char *manual = NULL;
    const struct policy_group *written, *defaults;
    char *start, *end;
    size_t len;

    (void)state;
    assert_int_equal(file_read(ESCROW_MANUAL, 65536, &manual, &len), ESCROW_OK);
    start = strstr(manual, "```\n");
    assert_non_null(start);
    end = strstr(start + 4, "```\n");
    assert_non_null(end);
    *end = '\0';
    assert_int_equal(load(start + 4, &report, &policy), ESCROW_OK);
    assert_int_equal(load(THREE, &report, &plain), ESCROW_OK);
    policy_groups(policy, &written);
    policy_groups(plain, &defaults);
    assert_int_equal(written->witness_count, defaults->witness_count);
    assert_int_equal(written->rival_wait_ms, defaults->rival_wait_ms);
    assert_int_equal(written->dead_for_ms, defaults->dead_for_ms);
    assert_int_equal(written->window_ms, defaults->window_ms);
    assert_int_equal(written->retries, defaults->retries);
    assert_int_equal(written->brake, defaults->brake);
    assert_int_equal(written->on_restart, defaults->on_restart);
    assert_int_equal(written->wants_echo, defaults->wants_echo);
    assert_int_equal(written->approvals, defaults->approvals);
    assert_int_equal(written->approval_expiry_ms, defaults->approval_expiry_ms);
    policy_warnings(policy, &report);
    assert_int_equal(report.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_majority_of_each_size),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_short_dead_for_warns_only_where_it_counts),
        cmocka_unit_test(test_echo_with_silence),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_manual_has_every_key),
        cmocka_unit_test(test_every_term_of_the_manual_is_known),
        cmocka_unit_test(test_manual_has_every_limit),
        cmocka_unit_test(test_manual_example),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
