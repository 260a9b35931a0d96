/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands between a client and a swtpm, for benches: makes every command slower, as a real TPM is,
 * and writes every command down, so that they can be counted and sent again (tpm_replay).
 *
 *   tpm_proxy LISTEN TARGET DELAY-US LOG
 *
 * LISTEN and TARGET are paths of Unix sockets; LOG gets one command a line, in hexadecimal digits.
 * Like swtpm it serves one connection at a time. Runs until a signal ends it.
 */
#include "libescrow/cleanup.h"
#include "tests/bench/tpm_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int listen_on(const char *path)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || !tpm_socket_address(path, &address) ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 16) != 0 ||
        chmod(path, 0666) != 0) {
        fprintf(stderr, "tpm_proxy: %s: %s\n", path, strerror(errno));
        exit(EXIT_FAILURE);
    }
    return fd;
}

static void note(FILE *log, const uint8_t *command, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fprintf(log, "%02x", command[i]);
    fputc('\n', log);
    fflush(log);
}

static void wait_us(long us)
{
    const struct timespec delay = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &delay, NULL);
}

static void serve(int client, const char *target, long delay_us, FILE *log)
{
    CLEANUP(cleanup_close) int tpm = tpm_socket_connect(target);
    uint8_t bytes[TPM_SOCKET_BYTES];
    ssize_t len;

    while (tpm >= 0 && (len = tpm_socket_receive(client, bytes)) > 0) {
        note(log, bytes, (size_t)len);
        if (delay_us > 0)
            wait_us(delay_us);
        if (!tpm_socket_send(tpm, bytes, (size_t)len) ||
            (len = tpm_socket_receive(tpm, bytes)) <= 0 ||
            !tpm_socket_send(client, bytes, (size_t)len))
            return;
    }
}

int main(int argc, char **argv)
{
    FILE *log;
    int listener;

    if (argc != 5) {
        fputs("usage: tpm_proxy LISTEN TARGET DELAY-US LOG\n", stderr);
        return 2;
    }
    log = fopen(argv[4], "ae");
    if (!log) {
        perror(argv[4]);
        return EXIT_FAILURE;
    }
    listener = listen_on(argv[1]);
    puts("ready");
    fflush(stdout);
    for (;;) {
        CLEANUP(cleanup_close) int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (client >= 0)
            serve(client, argv[2], strtol(argv[3], NULL, 10), log);
    }
}
