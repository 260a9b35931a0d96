/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * One event, one line, on standard error, with the <N> priority prefix that journald reads
 * (sd-daemon(3)). Control characters in an argument are written as \xNN, so a peer cannot forge a
 * line. Never hand a secret to it.
 */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* The name that starts each line ("keeper"), and the highest level that is written. */
void log_init(const char *role, enum log_level level);
/* The same for a command that a person runs: lines without the <N> prefix. */
void log_init_plain(const char *role, enum log_level level);

__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * For a line that others can cause as often as they like: at most LOG_LIMIT_LINES of it a minute,
 * and then one that says how many were left out. Starts from {0}.
 */
#define LOG_LIMIT_LINES 5
struct log_limit {
    int64_t minute; /* of CLOCK_MONOTONIC */
    unsigned lines;
    unsigned left_out;
};
/* True: write the line. */
bool log_may(struct log_limit *limit);

/* Writes what is in OpenSSL's error queue of this thread, a line each, and empties it. */
void log_openssl(const char *what);
