/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/config.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum colour { COLOUR_RED, COLOUR_GREEN };
static const char *const colours[] = {[COLOUR_RED] = "red", [COLOUR_GREEN] = "green"};

struct server {
    const char *name;
    int64_t port;
};

struct limits {
    int64_t requests;
    bool is_strict;
};

struct settings {
    const char *label;
    const char *socket;
    int64_t count, patience_ms;
    bool is_enabled;
    enum colour colour;
    struct limits limits;
    const char *const *names;
    size_t name_count;
    const char *const *titles;
    size_t title_count;
    const struct server *servers;
    size_t server_count;
};

static const struct config_field server_fields[] = {
    {"name", CONFIG_NAME(struct server, name, 8), .is_required = true},
    {"port", CONFIG_INTEGER(struct server, port, 1, 65535), .fallback = "1433"},
};
static const struct config_schema server_schema = CONFIG_SCHEMA(struct server, server_fields);

static const struct config_field limits_fields[] = {
    {"requests", CONFIG_INTEGER(struct limits, requests, 0, 100), .fallback = "7"},
    {"strict", CONFIG_BOOLEAN(struct limits, is_strict), .fallback = "true"},
};
static const struct config_schema limits_schema = CONFIG_SCHEMA(struct limits, limits_fields);

static const struct config_field fields[] = {
    {"label", CONFIG_STRING(struct settings, label, 20), .is_required = true},
    {"socket", CONFIG_PATH(struct settings, socket)},
    {"count", CONFIG_INTEGER(struct settings, count, 0, 1000), .fallback = "3"},
    {"patience", CONFIG_DURATION(struct settings, patience_ms, 1, 172800000), .fallback = "5s"},
    {"enabled", CONFIG_BOOLEAN(struct settings, is_enabled)},
    {"colour", CONFIG_ENUM(struct settings, colour, colours), .fallback = "green"},
    {"limits", CONFIG_MAPPING(struct settings, limits, &limits_schema)},
    {"names", CONFIG_NAME_LIST(struct settings, names, name_count, 8, 1, 3)},
    {"titles", CONFIG_STRING_LIST(struct settings, titles, title_count, 12, 0, 3)},
    {"servers", CONFIG_MAPPING_LIST(struct settings, servers, server_count, &server_schema, 1, 2)},
};
static const struct config_schema schema = CONFIG_SCHEMA(struct settings, fields);

static enum escrow_err load(const char *text, struct config_report *report,
                            struct config **ret_config)
{
    return config_load_bytes(text, strlen(text), "f.yaml", &schema, report, ret_config);
}

static void test_everything(void **state)
{
    static const char text[] = "---\n"
                               "# a comment\n"
                               "label: \"Zoë's\"\n"
                               "socket: /run/x\n"
                               "count: 0\n"
                               "patience: 24h\n"
                               "enabled: true\n"
                               "colour: 'red'\n"
                               "limits: {requests: 9}\n"
                               "names: [a-1, b.2, _c]\n"
                               "titles:\n"
                               "  - My Title\n"
                               "servers:\n"
                               "  - name: one\n"
                               "  - {name: two, port: 14330}\n";
    CLEANUP(config_free_p) struct config *config = NULL;
    struct config_report report = {0};
    const struct settings *settings;

    (void)state;
    assert_int_equal(load(text, &report, &config), ESCROW_OK);
    assert_int_equal(report.count, 0);
    settings = config_root(config);
    assert_string_equal(settings->label, "Zoë's");
    assert_string_equal(settings->socket, "/run/x");
    assert_int_equal(settings->count, 0);
    assert_int_equal(settings->patience_ms, 86400000);
    assert_true(settings->is_enabled);
    assert_int_equal(settings->colour, COLOUR_RED);
    assert_int_equal(settings->limits.requests, 9);
    assert_true(settings->limits.is_strict);
    assert_int_equal(settings->name_count, 3);
    assert_string_equal(settings->names[2], "_c");
    assert_int_equal(settings->title_count, 1);
    assert_string_equal(settings->titles[0], "My Title");
    assert_int_equal(settings->server_count, 2);
    assert_int_equal(settings->servers[0].port, 1433);
    assert_int_equal(settings->servers[1].port, 14330);
}

static void test_fallbacks(void **state)
{
    CLEANUP(config_free_p) struct config *config = NULL;
    struct config_report report = {0};
    const struct settings *settings;

    (void)state;
    assert_int_equal(load("label: x\n", &report, &config), ESCROW_OK);
    settings = config_root(config);
    assert_null(settings->socket);
    assert_int_equal(settings->count, 3);
    assert_int_equal(settings->patience_ms, 5000);
    assert_false(settings->is_enabled);
    assert_int_equal(settings->colour, COLOUR_GREEN);
    assert_int_equal(settings->limits.requests, 7);
    assert_int_equal(settings->name_count, 0);
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"1ms", 1}, {"300ms", 300}, {"5s", 5000}, {"5m", 300000}, {"2d", 172800000}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(config_free_p) struct config *config = NULL;
        struct config_report report = {0};
        char text[64];

        snprintf(text, sizeof(text), "label: x\npatience: %s\n", cases[i].text);
        assert_int_equal(load(text, &report, &config), ESCROW_OK);
        assert_int_equal(((const struct settings *)config_root(config))->patience_ms, cases[i].ms);
    }
}

/* One text, and the one line that it must give. */
static const struct {
    const char *text, *line;
} wrong[] = {
    {"label: x\ncount: 2x\n", "f.yaml:2:8: count: found '2x', expected an integer from 0 to 1000"},
    {"label: x\ncount: 010\n", "f.yaml:2:8: count: found '010', expected an integer"},
    {"label: x\ncount: 0x10\n", "f.yaml:2:8: count: found '0x10', expected an integer"},
    {"label: x\ncount: +1\n", "f.yaml:2:8: count: found '+1', expected an integer"},
    {"label: x\ncount: -1\n", "f.yaml:2:8: count: found '-1', expected an integer"},
    {"label: x\ncount: 1.0\n", "f.yaml:2:8: count: found '1.0', expected an integer"},
    {"label: x\ncount: 1_0\n", "f.yaml:2:8: count: found '1_0', expected an integer"},
    {"label: x\ncount: 1001\n", "f.yaml:2:8: count: found '1001', expected an integer"},
    {"label: x\ncount: 18446744073709551617\n",
     "f.yaml:2:8: count: found '18446744073709551617', expected an integer"},
    {"label: x\ncount: \"5\"\n", "f.yaml:2:8: count: found a quoted '5', expected an integer"},
    {"label: x\ncount:\n", "f.yaml:2:7: count: found nothing, expected an integer"},
    {"label: x\ncount: [1]\n", "f.yaml:2:8: count: found a list of 1, expected an integer"},
    {"label: x\nenabled: maybe\n", "f.yaml:2:10: enabled: found 'maybe', expected true or false"},
    {"label: x\nenabled: yes\n", "f.yaml:2:10: enabled: found 'yes', expected true or false"},
    {"label: x\nenabled: True\n", "f.yaml:2:10: enabled: found 'True', expected true or false"},
    {"label: x\nenabled: 'true'\n",
     "f.yaml:2:10: enabled: found a quoted 'true', expected true or false"},
    {"label: x\npatience: 5\n",
     "f.yaml:2:11: patience: found '5', expected a duration from 1ms to 2d "
     "(number and unit: ms, s, m, h or d)"},
    {"label: x\npatience: 1h30m\n", "f.yaml:2:11: patience: found '1h30m', expected a duration"},
    {"label: x\npatience: 5 s\n", "f.yaml:2:11: patience: found '5 s', expected a duration"},
    {"label: x\npatience: 0s\n", "f.yaml:2:11: patience: found '0s', expected a duration"},
    {"label: x\npatience: 3d\n", "f.yaml:2:11: patience: found '3d', expected a duration"},
    /* Days in milliseconds that are in range again modulo 2^64. */
    {"label: x\npatience: 826260411634907d\n",
     "f.yaml:2:11: patience: found '826260411634907d', expected a duration"},
    {"label: x\ncolour: blue\n", "f.yaml:2:9: colour: found 'blue', expected one of red, green"},
    {"label: x\ncolour: \"red\\0\"\n",
     "f.yaml:2:9: colour: found a quoted 'red?', expected one of red, green"},
    {"label: x\nsocket: run/x\n", "f.yaml:2:9: socket: found 'run/x', expected an absolute path"},
    {"label: x\nnames: [a b]\n", "f.yaml:2:9: names: found 'a b', expected a name"},
    {"label: x\nnames: [..]\n", "f.yaml:2:9: names: found '..', expected a name"},
    {"label: x\nnames: [a, b, a]\n",
     "f.yaml:2:15: names: found 'a' again, expected each item once"},
    {"label: x\nnames: []\n",
     "f.yaml:2:8: names: found a list of 0, expected a list of 1 to 3 names"},
    {"label: x\nnames: [a, b, c, d]\n", "f.yaml:2:8: names: found a list of 4, expected a list"},
    {"label: x\nnames: a\n", "f.yaml:2:8: names: found 'a', expected a list of 1 to 3 names"},
    {"label: x\nnames: [[a]]\n", "f.yaml:2:9: names: found a list of 1, expected a name"},
    {"label: x\ntitles: [0123456789012]\n",
     "f.yaml:2:10: titles: found '0123456789012', expected a printable text of 1 to 12 bytes"},
    {"label: ''\n", "f.yaml:1:8: label: found a quoted '', expected a printable text"},
    {"label: ~\n", "f.yaml:1:8: label: found no value: ~, expected a printable text"},
    {"label: \"a\\nb\"\n", "f.yaml:1:8: label: found a quoted 'a?b', expected a printable text"},
    {"label: \"a\\u009bb\"\n", "f.yaml:1:8: label: found a quoted 'a\?\?b', expected a printable"},
    {"label: \"012345678901234567890\"\n", "f.yaml:1:8: label: found a quoted '0123456789012345"},
    {"count: 1\n", "f.yaml:1:1: found no 'label', expected it in this mapping"},
    {"label: x\nservers:\n  - port: 1\n",
     "f.yaml:3:5: found no 'name', expected it in this mapping"},
    {"label: x\nservers: [one]\n", "f.yaml:2:11: found 'one', expected a mapping"},
    {"label: x\nservers: {name: a}\n",
     "f.yaml:2:10: servers: found a mapping, expected a list of 1 to 2 mappings"},
    {"label: x\nlimits: 3\n", "f.yaml:2:9: limits: found '3', expected a mapping"},
    /* The line is the unknown key's own, however deep and however late. */
    {"label: x\n\n# c\nlimits:\n  requests: 1\n\n  request: 2\n",
     "f.yaml:7:3: found the unknown key 'request', expected one of requests, strict"},
    {"label: x\nservers:\n  - name: a\n    prot: 2\n",
     "f.yaml:4:5: found the unknown key 'prot', expected one of name, port"},
    {"label: x\n<<: {count: 1}\n", "f.yaml:2:1: found the unknown key '<<', expected one of label"},
    {"label: x\n? [a]\n: 1\n", "f.yaml:2:3: found the unknown key a list of 1, expected one of"},
    {"label: x\ncount: 1\ncount: 1\n", "f.yaml:3:1: found 'count' again, expected each key once"},
    {"label: x\n---\nlabel: y\n", "f.yaml:2:1: found a second document, expected one document"},
    {"label: x\n...\n", "f.yaml:2:1: found an end of the document, expected one document"},
    {"%YAML 1.1\n---\nlabel: x\n", "f.yaml:1:1: found a directive, expected one document"},
    {"label: &a x\n", "f.yaml:1:8: found an anchor, expected one document"},
    {"label: !!str x\n", "f.yaml:1:8: found a tag, expected one document"},
    {"label: ! x\n", "f.yaml:1:8: found a tag, expected one document"},
    {"", "f.yaml:1:1: found an empty document, expected a mapping"},
    {"# only this\n", "f.yaml:1:1: found an empty document, expected a mapping"},
    {"- label: x\n", "f.yaml:1:1: found a list of 1, expected a mapping"},
    {"label: x\n  count: 1\n",
     "f.yaml:2:8: found malformed YAML (mapping values are not allowed in this context), expected "
     "one key in a line, indented as those beside it"},
    {"label: [x\n", "f.yaml:2:1: found malformed YAML ("},
    {"label: \"x\ncount: 1\n",
     "f.yaml:3:1: found malformed YAML (while scanning a quoted scalar from line 1 on: found "
     "unexpected end of stream), expected the quote or bracket to be closed"},
    {"label: x\n\tcount: 1\n",
     "f.yaml:2:1: found malformed YAML (while scanning a plain scalar from line 1 on: found a tab "
     "character that violates indentation), expected spaces: YAML is not indented by tabs"},
    {"label: \"H\\S\"\n",
     "f.yaml:1:10: found malformed YAML (while parsing a quoted scalar: found unknown escape "
     "character), expected no backslash between double quotes: use ' or none"},
    {"label: x\ncount: \xff\n",
     "f.yaml:2:8: found malformed YAML (invalid leading UTF-8 octet), expected a file in UTF-8"},
    {"label: [[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]\n",
     "f.yaml:1:23: found more than 16 levels, expected fewer"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        CLEANUP(config_report_deinit) struct config_report report = {0};
        struct config *config = NULL;

        assert_int_equal(load(wrong[i].text, &report, &config), ESCROW_ERR_CONFIG);
        assert_null(config);
        if (report.count != 1)
            fail_msg("case %zu: %zu lines", i, report.count);
        if (strncmp(report.lines[0], wrong[i].line, strlen(wrong[i].line)) != 0)
            fail_msg("case %zu:\n  %s\n  %s", i, report.lines[0], wrong[i].line);
    }
}

static void test_utf16_is_refused(void **state)
{
    static const char text[] = "\xff\xfel\0a\0b\0e\0l\0:\0 \0x\0\n";
    CLEANUP(config_report_deinit) struct config_report report = {0};
    struct config *config = NULL;

    (void)state;
    assert_int_equal(config_load_bytes(text, sizeof(text), "f.yaml", &schema, &report, &config),
                     ESCROW_ERR_CONFIG);
    assert_int_equal(report.count, 1);
    assert_non_null(strstr(report.lines[0], "f.yaml:1:1: found malformed YAML ("));
}

static void test_alias_is_refused_with_its_anchor(void **state)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    struct config *config = NULL;

    (void)state;
    assert_int_equal(load("label: &a x\nsocket: *a\n", &report, &config), ESCROW_ERR_CONFIG);
    assert_int_equal(report.count, 2);
    assert_non_null(strstr(report.lines[1], "f.yaml:2:9: found an alias"));
}

static void test_all_faults_are_reported(void **state)
{
    static const char text[] = "count: 2x\n"
                               "enabled: maybe\n"
                               "prot: 1\n"
                               "servers:\n"
                               "  - {name: '', port: 0}\n"
                               "  - {nam: a}\n";
    static const char *const starts[] = {
        "f.yaml:1:8: count",         "f.yaml:2:10: enabled",    "f.yaml:3:1: found the unknown",
        "f.yaml:5:12: name",         "f.yaml:5:22: port",       "f.yaml:6:6: found the unknown",
        "f.yaml:6:5: found no 'nam", "f.yaml:1:1: found no 'l",
    };
    CLEANUP(config_report_deinit) struct config_report report = {0};
    struct config *config = NULL;

    (void)state;
    assert_int_equal(load(text, &report, &config), ESCROW_ERR_CONFIG);
    assert_int_equal(report.count, ARRAY_LEN(starts));
    for (size_t i = 0; i < ARRAY_LEN(starts); i++)
        assert_memory_equal(report.lines[i], starts[i], strlen(starts[i]));
}

static void test_many_faults_are_bounded(void **state)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(cleanup_free) char *text = malloc(9000 + 1);
    struct config *config = NULL;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < 3000; i++)
        memcpy(text + 3 * i, "a:\n", 4);
    assert_int_equal(load(text, &report, &config), ESCROW_ERR_CONFIG);
    assert_int_equal(report.count, 200);
}

static void test_complain_names_the_position(void **state)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    CLEANUP(config_free_p) struct config *config = NULL;
    const struct settings *settings;
    int elsewhere;

    (void)state;
    assert_int_equal(load("label: x\nnames: [a, b]\nservers:\n - name: c\n", &report, &config),
                     ESCROW_OK);
    settings = config_root(config);
    config_complain(config, &report, &settings->names[1], "bad %s", "b");
    config_complain(config, &report, &settings->servers[0].name, "bad");
    config_complain(config, &report, &settings->count, "bad");
    config_complain(config, &report, &elsewhere, "bad");
    assert_int_equal(report.count, 4);
    assert_string_equal(report.lines[0], "f.yaml:2:12: bad b");
    assert_string_equal(report.lines[1], "f.yaml:4:10: bad");
    assert_string_equal(report.lines[2], "f.yaml:1:1: bad");
    assert_string_equal(report.lines[3], "f.yaml:1:1: bad");
}

static int new_file(char ret_path[static PATH_MAX])
{
    const char *folder = getenv("TMPDIR");

    snprintf(ret_path, PATH_MAX, "%s/config.XXXXXX", folder ? folder : "/tmp");
    return mkstemp(ret_path);
}

static void test_files(void **state)
{
    /* SHA-256 of "label: x\n" by coreutils. */
    static const uint8_t digest[CONFIG_DIGEST_BYTES] = {
        0xa2, 0xd0, 0xc1, 0x4f, 0xcd, 0xd4, 0xac, 0xd4, 0x72, 0x8a, 0xa5,
        0xec, 0x9c, 0x9a, 0x57, 0xd0, 0x3d, 0x7e, 0x42, 0xb9, 0x8b, 0xf9,
        0x62, 0x24, 0x25, 0xb8, 0xc0, 0xf6, 0x84, 0xd4, 0xd5, 0x98};
    CLEANUP(config_report_deinit) struct config_report report = {0};
    char path[PATH_MAX];
    CLEANUP(cleanup_close) int fd = new_file(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "label: x\n", 9), 9);
    /* The offset of a descriptor that somebody else read before does not matter. */
    for (int i = 0; i < 3; i++) {
        CLEANUP(config_free_p) struct config *config = NULL;

        assert_int_equal(i ? config_load_fd(fd, path, &schema, &report, &config)
                           : config_load(path, &schema, &report, &config),
                         ESCROW_OK);
        assert_memory_equal(config_digest(config), digest, sizeof(digest));
    }
    assert_int_equal(report.count, 0);
    assert_int_equal(unlink(path), 0);
}

static void test_files_refused(void **state)
{
    CLEANUP(config_report_deinit) struct config_report report = {0};
    char path[PATH_MAX];
    CLEANUP(cleanup_close) int fd = new_file(path);
    struct config *config = NULL;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, CONFIG_BYTES_MAX + 1), 0);
    assert_int_equal(config_load(path, &schema, &report, &config), ESCROW_ERR_CONFIG);
    assert_non_null(strstr(report.lines[0], ": found more than 1048576 bytes, expected fewer"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(config_load(path, &schema, &report, &config), ESCROW_ERR_CONFIG);
    assert_non_null(strstr(report.lines[1], ": cannot be opened: No such file or directory"));
    assert_int_equal(config_load("/", &schema, &report, &config), ESCROW_ERR_CONFIG);
    assert_string_equal(report.lines[2], "/: found no regular file, expected one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_fallbacks),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_utf16_is_refused),
        cmocka_unit_test(test_alias_is_refused_with_its_anchor),
        cmocka_unit_test(test_all_faults_are_reported),
        cmocka_unit_test(test_many_faults_are_bounded),
        cmocka_unit_test(test_complain_names_the_position),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_files_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
