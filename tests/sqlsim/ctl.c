/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/ctl.h"

#include "libescrow/cleanup.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EXIT_FALSE = 1, EXIT_NO_ANSWER = 2 };

CLEANUP_FUNCTION(json_decref_p, json_t, json_decref)
CLEANUP_FUNCTION(fclose_p, FILE, fclose)

static FILE *connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FILE *stream = NULL;

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        goto out;
    memcpy(address.sun_path, path, strlen(path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        stream = fdopen(fd, "r+");
out:
    if (!stream && fd >= 0)
        close(fd);
    return stream;
}

/* Secrets come by standard input, so that no list of processes shows them. */
static void append_word(json_t *words, const char *word)
{
    char line[4096];

    if (strcmp(word, "-") == 0 && fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        word = line;
    }
    json_array_append_new(words, json_string(word));
}

int ctl_main(int argc, char **argv)
{
    CLEANUP(json_decref_p) json_t *words = json_array();
    CLEANUP(json_decref_p) json_t *reply = NULL;
    CLEANUP(cleanup_free) char *line = NULL;
    CLEANUP(fclose_p) FILE *stream = NULL;
    size_t cap = 0;

    if (argc < 2) {
        fputs("usage: sqlsim ctl SOCKET COMMAND [WORD...]\n", stderr);
        return EXIT_NO_ANSWER;
    }
    stream = connect_to(argv[0]);
    if (!stream) {
        fprintf(stderr, "sqlsim ctl: %s: nothing answers\n", argv[0]);
        return EXIT_NO_ANSWER;
    }
    for (int i = 1; i < argc; i++)
        append_word(words, argv[i]);
    if (json_dumpf(words, stream, JSON_COMPACT) || fputc('\n', stream) == EOF || fflush(stream) ||
        getline(&line, &cap, stream) < 0)
        return EXIT_NO_ANSWER;
    fputs(line, stdout);
    reply = json_loads(line, 0, NULL);
    return json_is_true(json_object_get(reply, "ok")) ? EXIT_SUCCESS : EXIT_FALSE;
}
