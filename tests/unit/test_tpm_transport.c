/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/tpm_command.h"
#include "escrowd/tpm_transport.h"
#include "tests/unit/tpm_fixture.h"

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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

/* A server that answers each command by the same bytes, in pieces, and may then hang up. */
struct answer {
    const char *bytes;
    size_t len;
    size_t piece; /* bytes at a time, 2 ms apart; 0: all at once */
    bool hangs_up;
};

struct server {
    char folder[80];
    char setting[128];
    pid_t pid;
};

static _Noreturn void serve(int listener, const struct answer *answer)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        const size_t piece = answer->piece ? answer->piece : answer->len;
        char command[4096];

        if (read(fd, command, sizeof(command)) <= 0)
            _exit(1);
        for (size_t sent = 0; sent < answer->len; sent += piece) {
            const size_t left = answer->len - sent;

            if (send(fd, answer->bytes + sent, left < piece ? left : piece, MSG_NOSIGNAL) < 0)
                break;
            if (answer->piece)
                poll(NULL, 0, 2);
        }
        if (!answer->hangs_up)
            poll(&(struct pollfd){.fd = fd, .events = 0}, 1, -1); /* until the client has gone */
        close(fd);
    }
}

static void server_start(struct server *server, const struct answer *answer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *base = getenv("TMPDIR");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(server->folder, sizeof(server->folder), "%s/server.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(server->folder));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", server->folder);
    snprintf(server->setting, sizeof(server->setting), "swtpm:path=%s", address.sun_path);
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 8), 0);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0)
        serve(listener, answer);
    close(listener);
}

static void server_stop(struct server *server)
{
    char path[128];

    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    snprintf(path, sizeof(path), "%s/sock", server->folder);
    unlink(path);
    rmdir(server->folder);
}

static TSS2_RC exchange(const struct answer *answer, int timeout_ms, size_t *ret_len)
{
    static const uint8_t command[12] = {0x80, 0x01, 0, 0, 0, 12};
    struct tpm_transport transport;
    struct server server = {.pid = 0};
    uint8_t response[64];
    size_t size = sizeof(response);
    TSS2_TCTI_CONTEXT *tcti;
    TSS2_RC rc;

    server_start(&server, answer);
    assert_int_equal(tpm_transport_init(server.setting, timeout_ms, &transport), ESCROW_OK);
    tcti = tpm_transport_tcti(&transport);
    rc = Tss2_Tcti_Transmit(tcti, sizeof(command), command);
    if (rc == 0)
        rc = Tss2_Tcti_Receive(tcti, &size, response, TSS2_TCTI_TIMEOUT_BLOCK);
    assert_int_equal(transport.fd, -1);
    assert_int_equal(transport.commands, 1);
    server_stop(&server);
    *ret_len = size;
    return rc;
}

static void test_answers(void **state)
{
    static const char good[] = "\x80\x01\0\0\0\x0c\0\0\0\0ab";
    static const struct {
        struct answer answer;
        int timeout_ms;
        TSS2_RC rc;
    } cases[] = {
        {{good, 12, 0, false}, 10000, TSS2_RC_SUCCESS},
        {{good, 12, 1, false}, 10000, TSS2_RC_SUCCESS},
        {{good, 12, 5, true}, 10000, TSS2_RC_SUCCESS},
        {{good, 11, 0, true}, 10000, TSS2_TCTI_RC_IO_ERROR}, /* cut short */
        {{good, 0, 0, true}, 10000, TSS2_TCTI_RC_IO_ERROR},  /* nothing */
        {{good, 11, 0, false}, 50, TSS2_TCTI_RC_IO_ERROR},   /* and silence */
        {{good, 0, 0, false}, 50, TSS2_TCTI_RC_IO_ERROR},    /* only silence */
        {{good, 12, 1, false}, 10, TSS2_TCTI_RC_IO_ERROR},   /* dripping */
        {{"\x80\x01\0\0\0\x05\0\0\0\0", 10, 0, false}, 10000, TSS2_TCTI_RC_IO_ERROR}, /* < header */
        {{"\x80\x01\0\0\0\x41\0\0\0\0", 10, 0, false}, 10000, TSS2_TCTI_RC_IO_ERROR}, /* > buffer */
        {{"\x80\x01\xff\xff\xff\xff\0\0\0\0", 10, 0, false}, 10000, TSS2_TCTI_RC_IO_ERROR},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = 0;

        assert_int_equal(exchange(&cases[i].answer, cases[i].timeout_ms, &len), cases[i].rc);
        if (cases[i].rc == TSS2_RC_SUCCESS)
            assert_int_equal(len, 12);
    }
}

/*
 * A device: a terminal in raw mode, whose other end carries the bytes to a swtpm. It has what a
 * /dev/tpm has and a socket has not: it is opened by name, stays open, and keeps one user.
 */
struct device {
    pid_t pid;
    char setting[64];
};

static _Noreturn void carry(int terminal, const char *setting)
{
    struct tpm_transport transport;
    uint8_t bytes[4096];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (tpm_transport_init(setting, TPM_COMMAND_TIMEOUT_MS, &transport) != ESCROW_OK)
        _exit(1);
    for (;;) {
        TSS2_TCTI_CONTEXT *tcti = tpm_transport_tcti(&transport);
        size_t have = 0, size = sizeof(bytes);

        while (have < 6 || have < (size_t)bytes[4] * 256 + bytes[5]) {
            ssize_t got = read(terminal, bytes + have, sizeof(bytes) - have);

            if (got <= 0)
                _exit(0);
            have += (size_t)got;
        }
        if (Tss2_Tcti_Transmit(tcti, have, bytes) ||
            Tss2_Tcti_Receive(tcti, &size, bytes, TSS2_TCTI_TIMEOUT_BLOCK) ||
            write(terminal, bytes, size) != (ssize_t)size)
            _exit(1);
    }
}

static int device_start(struct device *device, const char *swtpm_setting)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY), user;
    struct termios raw;

    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    snprintf(device->setting, sizeof(device->setting), "device:%s", ptsname(terminal));
    user = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    assert_true(user >= 0);
    assert_int_equal(tcgetattr(user, &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(user, TCSANOW, &raw), 0);
    device->pid = fork();
    assert_true(device->pid >= 0);
    if (device->pid == 0)
        carry(terminal, swtpm_setting);
    close(terminal);
    return user; /* kept open: a terminal without a user would hang up */
}

static void test_a_device(void **state)
{
    struct member member;
    struct deposit deposit;
    struct device device = {.pid = 0};
    struct wrap_blob blob;
    uint64_t before;
    int fd, user;

    (void)state;
    member_start(&member);
    user = device_start(&device, member.swtpm.setting);
    snprintf(member.swtpm.setting, sizeof(member.swtpm.setting), "%s", device.setting);
    member_reopen(&member);
    deposit_start(&deposit, &member);
    assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), ESCROW_OK);
    before = tpm_commands(member.tpm);
    fd = member.tpm->transport.fd;
    assert_true(fd >= 0);
    assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), ESCROW_OK);
    assert_int_equal(tpm_commands(member.tpm) - before, 14);
    assert_int_equal(member.tpm->transport.fd, fd);
    kill(device.pid, SIGKILL);
    waitpid(device.pid, NULL, 0);
    assert_int_equal(tpm_release(member.tpm, &deposit.request, &blob), ESCROW_ERR_UNAVAILABLE);
    assert_int_equal(member.tpm->transport.fd, -1);
    close(user);
    deposit_stop(&deposit);
    member_stop(&member);
}

/* A signal handler without SA_RESTART must not cost a command. */
static void on_alarm(int number)
{
    (void)number;
}

static void test_signals(void **state)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerspec often = {.it_interval.tv_nsec = 200000, .it_value.tv_nsec = 200000};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct member member;
    timer_t timer;

    (void)state;
    member_start(&member);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
    for (int i = 0; i < 300; i++)
        assert_int_equal(tpm_check(member.tpm), ESCROW_OK);
    timer_delete(timer);
    member_stop(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_device),
        cmocka_unit_test(test_signals),
    };

    fixture_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
