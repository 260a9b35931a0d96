/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bare TPM commands of a release: sends what tpm_proxy wrote down of escrowd's last release
 * again and again, byte for byte but for the session, which is one of its own. Nothing is made,
 * checked or decided: no program can do the same commands faster. The TPM must accept each.
 *
 *   tpm_replay SOCKET LOG COMMANDS COUNT
 *
 * COMMANDS is how many lines at the end of LOG make a release. Prints as stopwatch.h says.
 */
#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "tests/bench/stopwatch.h"
#include "tests/bench/tpm_socket.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMANDS_MAX 64
#define CODE_AT 6
#define HANDLE_AT 10

struct command {
    uint8_t bytes[TPM_SOCKET_BYTES];
    size_t len;
};

/* Where a command names the policy session (TPM 2.0 Library, Part 3). */
static const struct {
    uint32_t code;
    size_t at;
} session_fields[] = {
    {0x14b, 22}, /* Duplicate: the first of its authorizations */
    {0x149, 18}, /* PolicyNV */
    {0x160, 14}, /* PolicySigned */
    {0x16a, 10}, /* PolicyAuthorize */
    {0x16c, 10}, /* PolicyCommandCode */
    {0x17f, 10}, /* PolicyPCR */
};

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "tpm_replay: %s\n", what);
    exit(EXIT_FAILURE);
}

/* The last count lines of the log. */
static void read_log(const char *path, struct command *commands, size_t count)
{
    CLEANUP(cleanup_free) char *line = NULL;
    FILE *log = fopen(path, "re");
    size_t cap = 0, lines = 0;
    ssize_t len;

    if (!log)
        fail("the log cannot be read");
    while ((len = getline(&line, &cap, log)) > 0) {
        struct command *command = &commands[lines++ % count];

        line[len - 1] = '\0';
        command->len = (size_t)len / 2;
        if (command->len > sizeof(command->bytes) ||
            hex_decode(line, command->bytes, command->len) != ESCROW_OK)
            fail("the log holds another line than a command");
    }
    fclose(log);
    if (lines < count)
        fail("the log holds fewer commands");
    /* The oldest first. */
    for (size_t turns = lines % count; turns > 0; turns--) {
        struct command first = commands[0];

        memmove(commands, commands + 1, (count - 1) * sizeof(*commands));
        commands[count - 1] = first;
    }
}

static void exchange(int fd, const uint8_t *command, size_t len, uint8_t *ret_response)
{
    if (!tpm_socket_send(fd, command, len) || tpm_socket_receive(fd, ret_response) <= 0)
        fail("the TPM does not answer");
    if (tpm_socket_u32(ret_response + CODE_AT) != 0) {
        fprintf(stderr, "tpm_replay: command 0x%x: response code 0x%x\n",
                tpm_socket_u32(command + CODE_AT), tpm_socket_u32(ret_response + CODE_AT));
        exit(EXIT_FAILURE);
    }
}

/* StartAuthSession of an unsalted, unbound policy session; the handle as it stands in commands. */
static void start_session(int fd, uint8_t ret_handle[static 4])
{
    static const uint8_t command[] = {0x80, 0x01, 0,  0,    0, 43, 0, 0,    0x01, 0x76, 0x40,
                                      0,    0,    7,  0x40, 0, 0,  7, 0,    16,   1,    2,
                                      3,    4,    5,  6,    7, 8,  9, 10,   11,   12,   13,
                                      14,   15,   16, 0,    0, 1,  0, 0x10, 0,    0x0b};
    uint8_t response[TPM_SOCKET_BYTES];

    exchange(fd, command, sizeof(command), response);
    memcpy(ret_handle, response + HANDLE_AT, 4);
}

static void end_session(int fd, const uint8_t handle[static 4])
{
    uint8_t command[] = {0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65, 0, 0, 0, 0};
    uint8_t response[TPM_SOCKET_BYTES];

    memcpy(command + HANDLE_AT, handle, 4);
    exchange(fd, command, sizeof(command), response);
}

static void set_session(struct command *command, const uint8_t handle[static 4])
{
    for (size_t i = 0; i < ARRAY_LEN(session_fields); i++) {
        if (tpm_socket_u32(command->bytes + CODE_AT) == session_fields[i].code)
            memcpy(command->bytes + session_fields[i].at, handle, 4);
    }
}

int main(int argc, char **argv)
{
    CLEANUP(cleanup_free) struct command *commands = calloc(COMMANDS_MAX, sizeof(*commands));
    CLEANUP(cleanup_free) int64_t *times_us = NULL;
    CLEANUP(cleanup_close) int fd = -1;
    uint8_t response[TPM_SOCKET_BYTES], session[4];
    size_t lines = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
    size_t count = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
    int64_t start_us;

    if (lines == 0 || lines > COMMANDS_MAX || count == 0 || !commands)
        fail("usage: tpm_replay SOCKET LOG COMMANDS COUNT");
    read_log(argv[2], commands, lines);
    times_us = calloc(count, sizeof(*times_us));
    fd = tpm_socket_connect(argv[1]);
    if (!times_us || fd < 0)
        fail("cannot connect");
    start_session(fd, session);
    for (size_t i = 0; i < lines; i++)
        set_session(&commands[i], session);
    start_us = stopwatch_us();
    for (size_t i = 0; i < count; i++) {
        int64_t begin_us = stopwatch_us();

        for (size_t j = 0; j < lines; j++)
            exchange(fd, commands[j].bytes, commands[j].len, response);
        times_us[i] = stopwatch_us() - begin_us;
    }
    stopwatch_print(times_us, count, stopwatch_us() - start_us);
    end_session(fd, session);
    return EXIT_SUCCESS;
}
