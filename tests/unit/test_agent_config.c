/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_config.h"
#include "libescrow/cleanup.h"
#include "libescrow/file.h"
#include "libescrow/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD                                                                                       \
    "escrowds:\n"                                                                                  \
    "  - {address: h, port: 1, server_id: spiffe://x/y, ca_file: /ca}\n"                           \
    "authority_file: /authority\n"                                                                 \
    "instances:\n"
/* Two lines. */
#define ENTRY(name, group, databases, account)                                                     \
    "  - {name: " name ", group: " group ", databases: [" databases "], certificate_file: /c,\n"   \
    "     key_file: /k, act_key_file: /a, address: h, tls_name: h, ca_file: /ca,"                  \
    " availability_group: AG" account "}\n"
#define INSTANCE(name, account) ENTRY(name, "g", "D", account)
#define KEYTAB ", keytab: /t"

static enum escrow_err load(const char *text, struct config **ret_config,
                            const struct agent_config **ret_root)
{
    const char *parent = getenv("TMPDIR");
    char path[4096];
    enum escrow_err err;
    int fd;

    snprintf(path, sizeof(path), "%s/agent.XXXXXX", parent ? parent : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    err = agent_config_load(path, ret_config, ret_root);
    unlink(path);
    return err;
}

/* The log of loading it, which fails. */
static void load_wrong(const char *text, char *ret_log, size_t cap)
{
    const char *parent = getenv("TMPDIR");
    CLEANUP(config_free_p) struct config *config = NULL;
    CLEANUP(cleanup_free) char *lines = NULL;
    const struct agent_config *root = NULL;
    int before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0), fd;
    char path[4096];
    enum escrow_err err;
    size_t len;

    snprintf(path, sizeof(path), "%s/log.XXXXXX", parent ? parent : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0 && before >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    log_init("agent", LOG_LEVEL_INFO);
    err = load(text, &config, &root);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    assert_int_equal(err, ESCROW_ERR_CONFIG);
    assert_int_equal(file_read(path, cap, &lines, &len), ESCROW_OK);
    snprintf(ret_log, cap, "%.*s", (int)len, lines);
    unlink(path);
    close(fd);
    close(before);
}

static unsigned count_lines(const char *text)
{
    unsigned count = 0;

    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void test_the_example(void **state)
{
    CLEANUP(config_free_p) struct config *config = NULL;
    const struct agent_config *root;
    const struct agent_instance *instance;
    struct sql_instance sql;

    (void)state;
    assert_int_equal(agent_config_load(EXAMPLE, &config, &root), ESCROW_OK);
    assert_int_equal(root->escrowd_count, 1);
    assert_int_equal(root->escrowds[0].port, 8443);
    assert_string_equal(root->escrowds[0].server_id, "spiffe://corp.example/escrowd/e1");
    assert_int_equal(root->poll_ms, 1000);
    assert_int_equal(root->recheck_ms, 60000);
    assert_int_equal(root->worker_deadline_ms, 30000);
    assert_int_equal(root->hook_count, 0);
    assert_null(agent_config_instance(root, "sql2"));
    instance = agent_config_instance(root, "sql1");
    assert_non_null(instance);
    assert_int_equal(instance->database_count, 1);
    assert_string_equal(instance->databases[0], "SSISDB");
    assert_true(instance->is_catalog);
    sql = agent_config_sql(instance);
    assert_string_equal(sql.name, "sql1");
    assert_int_equal(sql.port, 1433);
    assert_string_equal(sql.login, "escrow_agent");
    assert_null(sql.keytab);
    assert_in_range(sql.login_timeout_s, 1, 30);
}

static void test_accounts_and_names(void **state)
{
    static const struct {
        const char *text;
        enum escrow_err err;
    } cases[] = {
        {HEAD INSTANCE("a", ", login: l, password_file: /p"), ESCROW_OK},
        {HEAD INSTANCE("a", ", keytab: /t") INSTANCE("b", ", keytab: /t"), ESCROW_OK},
        {HEAD INSTANCE("a", ""), ESCROW_ERR_CONFIG},
        {HEAD INSTANCE("a", ", login: l"), ESCROW_ERR_CONFIG},
        {HEAD INSTANCE("a", ", password_file: /p"), ESCROW_ERR_CONFIG},
        {HEAD INSTANCE("a", ", keytab: /t, login: l"), ESCROW_ERR_CONFIG},
        {HEAD INSTANCE("a", KEYTAB) INSTANCE("a", KEYTAB), ESCROW_ERR_CONFIG},
        {HEAD INSTANCE("a", KEYTAB) ENTRY("a", "h", "E", KEYTAB), ESCROW_OK},
        {HEAD INSTANCE("a", ", keytab: /t") "poll: 5ms\n", ESCROW_ERR_CONFIG},
        {HEAD INSTANCE("a", ", keytab: /t") "notify: /x\n", ESCROW_ERR_CONFIG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(config_free_p) struct config *config = NULL;
        const struct agent_config *root = NULL;

        if (load(cases[i].text, &config, &root) != cases[i].err)
            fail_msg("case %zu", i);
    }
}

/* What two entries of one instance may not share: each is said where it stands, and nothing else.
 */
static void test_groups_of_an_instance(void **state)
{
    static const struct {
        const char *text;
        const char *wanted;
    } cases[] = {
        {HEAD INSTANCE("a", KEYTAB) INSTANCE("b", KEYTAB) ENTRY("a", "g", "E", KEYTAB),
         ":9:22: the group g of a has two entries: name all its databases in one\n"},
        {HEAD INSTANCE("a", KEYTAB) ENTRY("a", "g", "E, D", KEYTAB),
         ":7:22: the group g of a has two entries: name all its databases in one\n"},
        {HEAD INSTANCE("a", KEYTAB) ENTRY("a", "h", "E, D", KEYTAB),
         ":7:40: the database D of a is in the group g, too\n"},
        {HEAD INSTANCE("a", KEYTAB) ENTRY("a", "h", "E", KEYTAB) ENTRY("a", "i", "E", KEYTAB),
         ":9:37: the database E of a is in the group h, too\n"},
    };
    char log[4096];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        load_wrong(cases[i].text, log, sizeof(log));
        if (!strstr(log, cases[i].wanted) || count_lines(log) != 1)
            fail_msg("case %zu: %s", i, log);
    }
}

/* A key of an entry, and its value in the first one and, where that is changed, in the second. */
struct way {
    const char *key, *value, *other;
};

static size_t put_entry(char *text, size_t cap, const char *group, const struct way *ways,
                        size_t count, size_t changed)
{
    int used = snprintf(text, cap,
                        "  - name: a\n    group: %s\n    databases: [of-%s]\n"
                        "    certificate_file: /c-%s\n    key_file: /k-%s\n"
                        "    act_key_file: /a-%s\n    availability_group: %s\n",
                        group, group, group, group, group, group);

    for (size_t i = 0; i < count; i++)
        used += snprintf(text + used, cap - (size_t)used, "    %s: %s\n", ways[i].key,
                         i == changed ? ways[i].other : ways[i].value);
    return (size_t)used;
}

/* All entries of an instance agree in how it is reached, and in nothing else. */
static void check_ways(const struct way *ways, size_t count)
{
    char text[4096], log[4096], wanted[256];

    for (size_t changed = 0; changed <= count; changed++) {
        CLEANUP(config_free_p) struct config *config = NULL;
        const struct agent_config *root = NULL;
        size_t used = (size_t)snprintf(text, sizeof(text), HEAD);

        used += put_entry(text + used, sizeof(text) - used, "g", ways, count, count);
        snprintf(wanted, sizeof(wanted),
                 ":%u:11: %s is another one than in the first entry of a: ", count_lines(text) + 1,
                 changed < count ? ways[changed].key : "");
        put_entry(text + used, sizeof(text) - used, "h", ways, count, changed);
        if (changed == count) {
            assert_int_equal(load(text, &config, &root), ESCROW_OK);
            return;
        }
        load_wrong(text, log, sizeof(log));
        if (!strstr(log, wanted) || count_lines(log) != 1)
            fail_msg("%s, expected %s", log, wanted);
    }
}

static void test_one_way_to_an_instance(void **state)
{
    static const struct way by_password[] = {
        {"address", "h", "i"},         {"port", "1433", "1434"},      {"tls_name", "h", "i"},
        {"ca_file", "/ca", "/cb"},     {"login", "l", "m"},           {"password_file", "/p", "/q"},
        {"login_timeout", "5s", "6s"}, {"query_timeout", "5s", "6s"},
    };
    static const struct way by_ticket[] = {
        {"address", "h", "i"},  {"tls_name", "h", "i"},          {"ca_file", "/ca", "/cb"},
        {"keytab", "/t", "/u"}, {"krb5_conf", "/krb", "/other"}, {"kdc_port", "88", "89"},
    };

    (void)state;
    check_ways(by_password, ARRAY_LEN(by_password));
    check_ways(by_ticket, ARRAY_LEN(by_ticket));
}

static void assert_targets(const struct agent_config *root, const char *name, const char *wanted)
{
    CLEANUP(cleanup_free) struct agent_target *targets = NULL;
    char text[256] = "";
    size_t count;

    assert_int_equal(agent_config_targets(root, name, &targets, &count), ESCROW_OK);
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(text);

        snprintf(text + used, sizeof(text) - used, "%s/%s ", targets[i].instance->group,
                 targets[i].database);
    }
    assert_string_equal(text, wanted);
}

/* Prober and parent number the databases of an instance in the same way, whatever lies between. */
static void test_targets(void **state)
{
    CLEANUP(config_free_p) struct config *config = NULL;
    const struct agent_config *root;

    (void)state;
    assert_int_equal(load(HEAD ENTRY("a", "g", "D, E", KEYTAB) ENTRY("b", "g", "D", KEYTAB)
                              ENTRY("a", "h", "F", KEYTAB),
                          &config, &root),
                     ESCROW_OK);
    assert_targets(root, "a", "g/D g/E h/F ");
    assert_targets(root, "b", "g/D ");
    assert_targets(root, "c", "");
    assert_ptr_equal(agent_config_instance(root, "a"), &root->instances[0]);
    assert_ptr_equal(agent_config_group(root, "a", "g"), &root->instances[0]);
    assert_ptr_equal(agent_config_group(root, "b", "g"), &root->instances[1]);
    assert_ptr_equal(agent_config_group(root, "a", "h"), &root->instances[2]);
    assert_null(agent_config_group(root, "b", "h"));
    assert_null(agent_config_group(root, "c", "g"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example),
        cmocka_unit_test(test_accounts_and_names),
        cmocka_unit_test(test_groups_of_an_instance),
        cmocka_unit_test(test_one_way_to_an_instance),
        cmocka_unit_test(test_targets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
