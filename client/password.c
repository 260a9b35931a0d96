/* SPDX-License-Identifier: Apache-2.0 */
#include "client/password.h"

#include "libescrow/log.h"
#include "libescrow/payload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define GENERATED_CHARACTERS 40

/* Length of the UTF-8 sequence that starts here, 0 if it is none (RFC 3629, section 4). */
static size_t sequence_len(const uint8_t *bytes, size_t left)
{
    uint8_t first = bytes[0];
    uint8_t low = 0x80, high = 0xbf; /* of the second byte */
    size_t len;

    if (first < 0x80)
        return 1;
    len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < len)
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (bytes[i] < 0x80 || bytes[i] > 0xbf)
            return 0;
    }
    return len;
}

static enum escrow_err check(const struct secret *password)
{
    size_t characters = 0, at = 0;

    while (at < password->len) {
        size_t len = sequence_len(password->bytes + at, password->len - at);

        if (len == 0 || password->bytes[at] < 0x20 || password->bytes[at] == 0x7f) {
            log_error("the password is not UTF-8 or has a control character");
            return ESCROW_ERR_MALFORMED;
        }
        /* UTF-16 needs two units beyond the basic plane, and SQL Server counts units. */
        characters += len == 4 ? 2 : 1;
        at += len;
    }
    if (characters > 0 && characters <= PASSWORD_CHARACTERS_MAX)
        return ESCROW_OK;
    log_error("the password must have 1 to %d characters", PASSWORD_CHARACTERS_MAX);
    return ESCROW_ERR_MALFORMED;
}

/*
 * Reads as read(2). With a mask, the signals that are blocked and not in it end the wait (EINTR),
 * also one that came just before it.
 */
static ssize_t read_some(int fd, const sigset_t *mask, uint8_t *bytes, size_t len)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    if (mask && ppoll(&ready, 1, NULL, mask) < 0)
        return -1;
    return read(fd, bytes, len);
}

/* mask: of a terminal, where a line is read; NULL: everything is read. */
static enum escrow_err read_fd(int fd, const sigset_t *mask, struct secret **ret_password)
{
    CLEANUP(secret_free_p) struct secret *password = secret_new(PAYLOAD_PASSWORD_MAX + 2);
    size_t used = 0;
    enum escrow_err err;

    if (!password)
        return ESCROW_ERR_NO_MEMORY;
    while (used < password->len && !(mask && used > 0 && password->bytes[used - 1] == '\n')) {
        ssize_t got = read_some(fd, mask, password->bytes + used, password->len - used);

        if (got < 0) {
            log_error("the password cannot be read: %s", strerror(errno));
            return ESCROW_ERR_SYSTEM;
        }
        if (got == 0)
            break;
        used += (size_t)got;
    }
    if (used > 0 && used <= PAYLOAD_PASSWORD_MAX + 1 && password->bytes[used - 1] == '\n')
        used--;
    password->len = used;
    err = check(password);
    if (!err)
        *ret_password = TAKE(password);
    return err;
}

enum escrow_err password_read(int fd, struct secret **ret_password)
{
    return read_fd(fd, NULL, ret_password);
}

static enum escrow_err prompt(int tty, const char *text, const sigset_t *mask,
                              struct secret **ret_password)
{
    enum escrow_err err;

    if (write(tty, text, strlen(text)) < 0)
        return ESCROW_ERR_SYSTEM;
    err = read_fd(tty, mask, ret_password);
    if (write(tty, "\n", 1) < 0)
        return ESCROW_ERR_SYSTEM;
    return err;
}

static enum escrow_err ask_twice(int tty, const sigset_t *mask, struct secret **ret_password)
{
    CLEANUP(secret_free_p) struct secret *first = NULL;
    CLEANUP(secret_free_p) struct secret *second = NULL;
    enum escrow_err err = prompt(tty, "Password: ", mask, &first);

    if (!err)
        err = prompt(tty, "The same again: ", mask, &second);
    if (err)
        return err;
    if (!secret_equal(first, second)) {
        log_error("the two passwords differ");
        return ESCROW_ERR_MALFORMED;
    }
    *ret_password = TAKE(first);
    return ESCROW_OK;
}

/* Only so that the wait ends with EINTR and the terminal gets its echo back. */
static void on_signal(int number)
{
    (void)number;
}

enum escrow_err password_ask(struct secret **ret_password)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    CLEANUP(cleanup_close) int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    const struct sigaction interrupt = {.sa_handler = on_signal};
    struct sigaction before[ARRAY_LEN(signals)];
    struct termios with_echo, without;
    sigset_t blocked, mask;
    enum escrow_err err;

    if (tty < 0 || tcgetattr(tty, &with_echo) < 0) {
        log_error("there is no terminal to ask at: use --password-fd");
        return ESCROW_ERR_SYSTEM;
    }
    without = with_echo;
    without.c_lflag &= ~(tcflag_t)ECHO;
    without.c_lflag |= ICANON;
    sigemptyset(&blocked);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        sigaddset(&blocked, signals[i]);
        sigaction(signals[i], &interrupt, &before[i]);
    }
    /* Blocked but for the waits: none can come where nothing would notice it. */
    sigprocmask(SIG_BLOCK, &blocked, &mask);
    err = tcsetattr(tty, TCSAFLUSH, &without) == 0 ? ask_twice(tty, &mask, ret_password)
                                                   : ESCROW_ERR_SYSTEM;
    tcsetattr(tty, TCSAFLUSH, &with_echo);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &before[i], NULL);
    return err;
}

static bool has_all_kinds(const struct secret *password)
{
    bool has_upper = false, has_lower = false, has_digit = false, has_other = false;

    for (size_t i = 0; i < password->len; i++) {
        uint8_t c = password->bytes[i];

        has_upper |= c >= 'A' && c <= 'Z';
        has_lower |= c >= 'a' && c <= 'z';
        has_digit |= c >= '0' && c <= '9';
        has_other |= c == '-' || c == '_';
    }
    return has_upper && has_lower && has_digit && has_other;
}

enum escrow_err password_generate(struct secret **ret_password)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    CLEANUP(secret_free_p) struct secret *password = NULL;

    /* A policy of Windows asks for three of the four kinds. */
    do {
        secret_free(TAKE(password));
        password = secret_random(GENERATED_CHARACTERS);
        if (!password)
            return ESCROW_ERR_NO_MEMORY;
        for (size_t i = 0; i < password->len; i++)
            password->bytes[i] = (uint8_t)alphabet[password->bytes[i] % 64];
    } while (!has_all_kinds(password));
    *ret_password = TAKE(password);
    return ESCROW_OK;
}

enum escrow_err password_write(int fd, const struct secret *password)
{
    if (write(fd, password->bytes, password->len) != (ssize_t)password->len ||
        write(fd, "\n", 1) != 1) {
        log_error("the password cannot be written to descriptor %d: %s", fd, strerror(errno));
        return ESCROW_ERR_SYSTEM;
    }
    return ESCROW_OK;
}
