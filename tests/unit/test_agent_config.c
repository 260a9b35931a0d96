/* SPDX-License-Identifier: Apache-2.0 */
#include "client/agent_config.h"
#include "libescrow/cleanup.h"

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
#define INSTANCE(name, account)                                                                    \
    "  - {name: " name ", group: g, certificate_file: /c, key_file: /k, act_key_file: /a,\n"       \
    "     address: h, tls_name: h, ca_file: /ca, availability_group: AG, databases: [D]" account   \
    "}\n"

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
    assert_string_equal(root->escrowds[0].server_id, "spiffe://example.net/escrowd/escrow1");
    assert_int_equal(root->poll_ms, 1000);
    assert_int_equal(root->recheck_ms, 60000);
    assert_int_equal(root->worker_deadline_ms, 30000);
    assert_int_equal(root->hook_count, 0);
    assert_null(agent_config_instance(root, "SQL02"));
    instance = agent_config_instance(root, "SQL01");
    assert_non_null(instance);
    assert_int_equal(instance->database_count, 1);
    assert_string_equal(instance->databases[0], "SSISDB");
    assert_true(instance->is_catalog);
    sql = agent_config_sql(instance);
    assert_string_equal(sql.name, "SQL01");
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
        {HEAD INSTANCE("a", ", keytab: /t") INSTANCE("a", ", keytab: /t"), ESCROW_ERR_CONFIG},
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example),
        cmocka_unit_test(test_accounts_and_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
