/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A manager's socket at path; '@' first: abstract. */
static int manager(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    size_t len = strlen(path);

    assert_true(fd >= 0);
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    return fd;
}

static void expect_line(const char *path)
{
    char got[64] = "";
    int fd = manager(path);

    assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
    service_notify("READY=1\nSTATUS=serving");
    assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), 22);
    assert_string_equal(got, "READY=1\nSTATUS=serving");
    close(fd);
}

static void test_path(void **state)
{
    const char *parent = getenv("TMPDIR");
    char folder[64], path[80];

    (void)state;
    snprintf(folder, sizeof(folder), "%s/service.XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    expect_line(path);
    unlink(path);
    rmdir(folder);
}

static void test_abstract(void **state)
{
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "@escrow-test-%d", (int)getpid());
    expect_line(path);
}

/* Nobody there, no address, no address that could be one: nothing happens. */
static void test_nobody(void **state)
{
    char long_path[200] = "/";

    (void)state;
    memset(long_path + 1, 'x', sizeof(long_path) - 2);
    unsetenv("NOTIFY_SOCKET");
    service_notify("READY=1");
    setenv("NOTIFY_SOCKET", "", 1);
    service_notify("READY=1");
    setenv("NOTIFY_SOCKET", "vsock:1:2", 1);
    service_notify("READY=1");
    setenv("NOTIFY_SOCKET", long_path, 1);
    service_notify("READY=1");
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    service_notify("READY=1");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_abstract),
        cmocka_unit_test(test_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
