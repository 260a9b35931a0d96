/* SPDX-License-Identifier: Apache-2.0 */
/* escrowd.yaml, and the copies of it and of the policy that roles are started with. */
#include "escrowd/config.h"
#include "escrowd/snapshot.h"
#include "libescrow/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD                                                                                       \
    "member: a\n"                                                                                  \
    "listen: {address: 127.0.0.1}\n"                                                               \
    "tls: {ca_file: /ca, certificate_file: /c, key_file: /k}\n"                                    \
    "policy_file: %s\n"                                                                            \
    "authority_file: /authority\n"
#define TPM "tpm: {tcti: \"swtpm:path=/s\", pcrs: [7]}\n"
#define INSTANCE(name, more)                                                                       \
    "  - {name: " name ", address: h, tls_name: h, ca_file: /ca, " more "}\n"
#define POLICY                                                                                     \
    "groups:\n"                                                                                    \
    "  - name: g\n"                                                                                \
    "    availability_group: AG\n"                                                                 \
    "    databases: [D]\n"                                                                         \
    "    replicas: [{instance: a, server_name: A}, {instance: b, server_name: B},\n"               \
    "               {instance: c, server_name: C}]\n"

struct files {
    char policy[256], config[256];
};

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    struct files *files = calloc(1, sizeof(*files));
    const char *parent = getenv("TMPDIR");
    int policy, config;

    *state = files;
    if (!files)
        return -1;
    snprintf(files->policy, sizeof(files->policy), "%s/policy.XXXXXX", parent ? parent : "/tmp");
    snprintf(files->config, sizeof(files->config), "%s/config.XXXXXX", parent ? parent : "/tmp");
    policy = mkstemp(files->policy);
    config = mkstemp(files->config);
    if (policy < 0 || config < 0)
        return -1;
    close(policy);
    close(config);
    write_file(files->policy, POLICY);
    return 0;
}

static int teardown(void **state)
{
    struct files *files = *state;

    unlink(files->policy);
    unlink(files->config);
    free(files);
    return 0;
}

static void write_config(const struct files *files, const char *tail)
{
    char text[4096];
    int used = snprintf(text, sizeof(text), HEAD, files->policy);

    snprintf(text + used, sizeof(text) - (size_t)used, "%s", tail);
    write_file(files->config, text);
}

static void test_the_example(void **state)
{
    CLEANUP(escrowd_config_free_p) struct escrowd_config *config = NULL;
    struct sql_instance sql;

    (void)state;
    assert_int_equal(escrowd_config_load(EXAMPLE, &config), ESCROW_OK);
    assert_string_equal(config->member, "e1");
    assert_int_equal(config->listen.port, 8443);
    assert_int_equal(config->tls.crl_stale, TLS_CRL_STALE_WARN);
    assert_int_equal(config->tpm.pcrs, 1u << 7 | 1u << 11);
    assert_int_equal(config->limits.request_ms, 10000);
    assert_int_equal(config->instance_count, 3);
    assert_null(escrowd_config_find(config, "sql4"));
    sql = escrowd_instance_sql(escrowd_config_find(config, "sql2"));
    assert_string_equal(sql.address, "sql2.corp.example");
    assert_int_equal(sql.port, 1433);
    assert_string_equal(sql.login, "escrow_prober");
    assert_int_equal(sql.login_timeout_s, 2);
}

static void test_what_the_schema_cannot_say(void **state)
{
    static const struct {
        const char *tail;
        bool is_right;
    } cases[] = {
        {TPM, true},
        {"tpm: {tcti: t, pcrs: [0, 23]}\n", true},
        {"tpm: {tcti: t, pcrs: [24]}\n", false},
        {"tpm: {tcti: t, pcrs: [x]}\n", false},
        {"tpm: {tcti: t, pcrs: []}\n", false},
        {TPM "users: {keeper: a, front: b, prober: c}\n", true},
        {TPM "users: {keeper: a, front: b}\n", false},
        {TPM "users: {keeper: a, front: b, prober: a}\n", false},
        {TPM "users: {keeper: a, front: b, prober: c, alerter: d}\n", true},
        {TPM "users: {keeper: a, front: b, prober: c, alerter: b}\n", false},
        {TPM "users: {alerter: d}\n", false},
        {TPM "alert: {command: /bin/true}\n", true},
        {TPM "alert: {command: /bin/true, timeout: 50ms}\n", false},
        {TPM "alert: {command: true}\n", false},
        {TPM "alert: {timeout: 5s}\n", false},
        {TPM "alert: {command: /bin/true}\nusers: {keeper: a, front: b, prober: c}\n", false},
        {TPM "alert: {command: /bin/true}\n"
             "users: {keeper: a, front: b, prober: c, alerter: d}\n",
         true},
        {TPM "instances:\n" INSTANCE("i", "login: l, password_file: /p"), true},
        {TPM "instances:\n" INSTANCE("i", "keytab: /k"), true},
        {TPM "instances:\n" INSTANCE("i", "login: l"), false},
        {TPM "instances:\n" INSTANCE("i", "keytab: /k, login: l"), false},
        {TPM "instances:\n" INSTANCE("i", "keytab: /k, login_timeout: 1500ms"), false},
        {TPM "instances:\n" INSTANCE("i", "keytab: /k") INSTANCE("i", "keytab: /k"), false},
        {TPM "limits: {request: 5}\n", false},
        {TPM "unknown: 1\n", false},
        {"", false},
    };
    const struct files *files = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(escrowd_config_free_p) struct escrowd_config *config = NULL;
        enum escrow_err err;

        write_config(files, cases[i].tail);
        err = escrowd_config_load(files->config, &config);
        assert_int_equal(err, cases[i].is_right ? ESCROW_OK : ESCROW_ERR_CONFIG);
        assert_int_equal(config != NULL, cases[i].is_right);
    }
}

static void assert_reads(int sealed_fd, const char *text)
{
    char bytes[4096] = {0};
    int fd;

    assert_int_equal(snapshot_open(sealed_fd, &fd), ESCROW_OK);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), strlen(text));
    assert_string_equal(bytes, text);
    /* Neither through it nor through the first descriptor. */
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(pwrite(sealed_fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(sealed_fd, 0), -1);
    assert_ptr_equal(mmap(NULL, 1, PROT_WRITE, MAP_SHARED, sealed_fd, 0), MAP_FAILED);
    close(fd);
}

static void test_a_snapshot_stays_as_it_was(void **state)
{
    const struct files *files = *state;
    struct snapshot first = SNAPSHOT_EMPTY, same = SNAPSHOT_EMPTY, other = SNAPSHOT_EMPTY;

    write_config(files, TPM);
    assert_int_equal(snapshot_take(files->config, &first), ESCROW_OK);
    assert_int_equal(snapshot_take(files->config, &same), ESCROW_OK);
    assert_true(snapshot_equal(&first, &same));
    write_file(files->policy, POLICY "# changed\n");
    for (int i = 0; i < 2; i++) /* every role reads from the start */
        assert_reads(first.policy_fd, POLICY);
    assert_int_equal(snapshot_take(files->config, &other), ESCROW_OK);
    assert_false(snapshot_equal(&first, &other));
    assert_reads(other.policy_fd, POLICY "# changed\n");
    snapshot_deinit(&first);
    snapshot_deinit(&same);
    snapshot_deinit(&other);
}

static void test_a_snapshot_is_of_two_right_files(void **state)
{
    const struct files *files = *state;
    struct snapshot snapshot = SNAPSHOT_EMPTY;

    write_config(files, TPM "wrong\n");
    assert_int_equal(snapshot_take(files->config, &snapshot), ESCROW_ERR_CONFIG);
    write_config(files, TPM);
    write_file(files->policy, POLICY "wrong\n");
    assert_int_equal(snapshot_take(files->config, &snapshot), ESCROW_ERR_CONFIG);
    unlink(files->policy);
    assert_int_equal(snapshot_take(files->config, &snapshot), ESCROW_ERR_CONFIG);
    unlink(files->config);
    assert_int_equal(snapshot_take(files->config, &snapshot), ESCROW_ERR_CONFIG);
    assert_int_equal(snapshot.config_fd, -1);
    assert_int_equal(snapshot.policy_fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example),
        cmocka_unit_test_setup_teardown(test_what_the_schema_cannot_say, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_snapshot_stays_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_snapshot_is_of_two_right_files, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
