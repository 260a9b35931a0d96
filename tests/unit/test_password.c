/* SPDX-License-Identifier: Apache-2.0 */
#include "client/password.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 20000

static enum escrow_err read_bytes(const void *bytes, size_t len, struct secret **ret_password)
{
    int ends[2];
    enum escrow_err err;

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], bytes, len), len);
    close(ends[1]);
    err = password_read(ends[0], ret_password);
    close(ends[0]);
    return err;
}

static void check_read(const char *text, const char *wanted)
{
    CLEANUP(secret_free_p) struct secret *password = NULL;

    assert_int_equal(read_bytes(text, strlen(text), &password), ESCROW_OK);
    assert_int_equal(password->len, strlen(wanted));
    assert_memory_equal(password->bytes, wanted, password->len);
}

static void check_refused(const void *bytes, size_t len)
{
    struct secret *password = NULL;

    assert_int_equal(read_bytes(bytes, len, &password), ESCROW_ERR_MALFORMED);
    assert_null(password);
}

static void test_read(void **state)
{
    (void)state;
    check_read("pass'word\n", "pass'word");
    check_read("pass word", "pass word");
    check_read("\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91\n", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91");
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "a\n\n",
        "a\nb\n",
        "a\tb",
        "a\rb",
        "a\x7f",
        "\xff",
        "a\x80",
        "\xc3",
        "\xc0\xaf",         /* overlong */
        "\xe0\x80\xaf",     /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xe2\x82",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        check_refused(texts[i], strlen(texts[i]));
    check_refused("a\0b", 3);
}

static void test_length(void **state)
{
    char ascii[PASSWORD_CHARACTERS_MAX + 3], wide[4 * PASSWORD_CHARACTERS_MAX + 8];

    (void)state;
    memset(ascii, 'a', sizeof(ascii));
    ascii[PASSWORD_CHARACTERS_MAX] = '\0';
    check_read(ascii, ascii);
    check_refused("aaaa", 0);
    memset(ascii, 'a', sizeof(ascii));
    check_refused(ascii, PASSWORD_CHARACTERS_MAX + 1);
    /* 64 characters of two UTF-16 units are 128; one more is too many. */
    for (size_t i = 0; i < sizeof(wide) / 4; i++)
        memcpy(wide + 4 * i, "\xf0\x9f\x94\x91", 4);
    wide[sizeof(wide) - 1] = '\0';
    check_refused(wide, 4 * 65);
    wide[4 * 64] = '\0';
    check_read(wide, wide);
    check_refused(wide, sizeof(wide));
}

static void test_generate(void **state)
{
    CLEANUP(secret_free_p) struct secret *one = NULL;
    CLEANUP(secret_free_p) struct secret *two = NULL;
    size_t upper = 0, lower = 0, digits = 0, others = 0;

    (void)state;
    assert_int_equal(password_generate(&one), ESCROW_OK);
    assert_int_equal(password_generate(&two), ESCROW_OK);
    assert_int_equal(one->len, 40);
    assert_false(secret_equal(one, two));
    for (size_t i = 0; i < one->len; i++) {
        char c = (char)one->bytes[i];

        upper += c >= 'A' && c <= 'Z';
        lower += c >= 'a' && c <= 'z';
        digits += c >= '0' && c <= '9';
        others += c == '-' || c == '_';
    }
    assert_true(upper && lower && digits && others);
    assert_int_equal(upper + lower + digits + others, one->len);
}

static void test_write(void **state)
{
    CLEANUP(secret_free_p) struct secret *password = secret_from("abc", 3);
    char bytes[8] = "";
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(password_write(ends[1], password), ESCROW_OK);
    assert_int_equal(read(ends[0], bytes, sizeof(bytes)), 4);
    assert_string_equal(bytes, "abc\n");
    assert_int_equal(password_write(ends[0], password), ESCROW_ERR_SYSTEM);
    close(ends[0]);
    close(ends[1]);
}

/* A child whose terminal is ours to type at. */
struct terminal {
    int fd;
    pid_t child;
    char shown[1024];
    size_t len;
};

/* The child's exit status: the result of password_ask, 100 if the password is not "geheim". */
static void child_asks(int replica)
{
    CLEANUP(secret_free_p) struct secret *password = NULL;
    enum escrow_err err;

    /* A test run in the background inherits a SIGINT that is ignored. */
    signal(SIGINT, SIG_DFL);
    alarm(DEADLINE_MS / 1000);
    setsid();
    ioctl(replica, TIOCSCTTY, 0);
    err = password_ask(&password);
    if (!err && (password->len != 6 || memcmp(password->bytes, "geheim", 6) != 0))
        _exit(100);
    _exit((int)err);
}

static void start(struct terminal *terminal)
{
    int replica;

    *terminal = (struct terminal){.fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
    assert_true(terminal->fd >= 0);
    assert_int_equal(grantpt(terminal->fd), 0);
    assert_int_equal(unlockpt(terminal->fd), 0);
    replica = open(ptsname(terminal->fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(replica >= 0);
    terminal->child = fork();
    if (terminal->child == 0)
        child_asks(replica);
    close(replica);
}

/* Waits for what the terminal shows. */
static void expect(struct terminal *terminal, const char *text)
{
    struct pollfd ready = {.fd = terminal->fd, .events = POLLIN};

    while (!strstr(terminal->shown, text)) {
        ssize_t got;

        assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
        got = read(terminal->fd, terminal->shown + terminal->len,
                   sizeof(terminal->shown) - 1 - terminal->len);
        assert_true(got > 0);
        terminal->len += (size_t)got;
        terminal->shown[terminal->len] = '\0';
    }
}

static void type(struct terminal *terminal, const char *text)
{
    assert_int_equal(write(terminal->fd, text, strlen(text)), strlen(text));
}

static int end(struct terminal *terminal)
{
    struct termios settings;
    int status;

    assert_int_equal(waitpid(terminal->child, &status, 0), terminal->child);
    /* Whatever happened, the terminal echoes again. */
    assert_int_equal(tcgetattr(terminal->fd, &settings), 0);
    assert_true(settings.c_lflag & ECHO);
    close(terminal->fd);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_ask(void **state)
{
    struct terminal terminal;

    (void)state;
    start(&terminal);
    expect(&terminal, "Password: ");
    type(&terminal, "geheim\n");
    expect(&terminal, "again: ");
    type(&terminal, "geheim\n");
    assert_int_equal(end(&terminal), ESCROW_OK);
    assert_null(strstr(terminal.shown, "geheim"));
}

static void test_ask_differs(void **state)
{
    struct terminal terminal;

    (void)state;
    start(&terminal);
    expect(&terminal, "Password: ");
    type(&terminal, "geheim\n");
    expect(&terminal, "again: ");
    type(&terminal, "geheimer\n");
    assert_int_equal(end(&terminal), ESCROW_ERR_MALFORMED);
}

static void test_ask_interrupted(void **state)
{
    struct terminal terminal;

    (void)state;
    start(&terminal);
    expect(&terminal, "Password: ");
    type(&terminal, "gehe\x03"); /* Ctrl-C */
    assert_int_equal(end(&terminal), ESCROW_ERR_SYSTEM);
}

static void test_ask_without_terminal(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        struct secret *password = NULL;

        setsid();
        _exit((int)password_ask(&password));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), ESCROW_ERR_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_ask),
        cmocka_unit_test(test_ask_differs),
        cmocka_unit_test(test_ask_interrupted),
        cmocka_unit_test(test_ask_without_terminal),
    };

    if (secret_heap_init() != ESCROW_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
