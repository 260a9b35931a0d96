/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/log.h"

#include <openssl/err.h>

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static const char *log_role = "escrow";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_is_plain;

void log_init(const char *role, enum log_level level)
{
    log_role = role;
    log_max = level;
}

void log_init_plain(const char *role, enum log_level level)
{
    log_init(role, level);
    log_is_plain = true;
}

/* Bytes of the control character that begins here: 2 of U+0080 to U+009F in UTF-8, else 1; or 0. */
static unsigned control_bytes(const char *text)
{
    unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];

    if (c == 0xc2 && next >= 0x80 && next <= 0x9f)
        return 2;
    return c < 0x20 || c == 0x7f;
}

static size_t append_printable(char *line, size_t used, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    unsigned hidden = 0;

    for (; *text && used + 5 < LINE_MAX_BYTES; text++) {
        unsigned char c = (unsigned char)*text;

        if (hidden == 0)
            hidden = control_bytes(text);
        if (hidden == 0) {
            line[used++] = (char)c;
            continue;
        }
        hidden--;
        line[used++] = '\\';
        line[used++] = 'x';
        line[used++] = hex[c >> 4];
        line[used++] = hex[c & 15];
    }
    return used;
}

void log_write(enum log_level level, const char *format, ...)
{
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    int saved_errno = errno, prefix;
    size_t used;
    va_list args;

    if (level > log_max)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (log_is_plain)
        prefix = snprintf(line, sizeof(line), "%s: ", log_role);
    else
        prefix = snprintf(line, sizeof(line), "<%d>%s: ", (int)level, log_role);
    used = append_printable(line, prefix > 0 ? (size_t)prefix : 0, text);
    line[used++] = '\n';
    while (write(STDERR_FILENO, line, used) < 0 && errno == EINTR) {
    }
    errno = saved_errno;
}

bool log_may(struct log_limit *limit)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec / 60 != limit->minute) {
        if (limit->left_out > 0)
            log_warning("%u lines like the next one were left out", limit->left_out);
        *limit = (struct log_limit){.minute = now.tv_sec / 60};
    }
    if (limit->lines < LOG_LIMIT_LINES) {
        limit->lines++;
        return true;
    }
    limit->left_out++;
    return false;
}

void log_openssl(const char *what)
{
    unsigned long code;
    char text[256];

    while ((code = ERR_get_error()) != 0) {
        ERR_error_string_n(code, text, sizeof(text));
        log_error("%s: %s", what, text);
    }
}
