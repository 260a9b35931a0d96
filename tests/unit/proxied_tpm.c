/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proxied_tpm.h"

#include "libescrow/cleanup.h"

#include <tss2/tss2_tpm2_types.h>

#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_AT 12 /* in hexadecimal digits: behind tag and size */
#define COMMAND_DIGITS 8

void proxied_start(struct proxied_tpm *proxied, const struct swtpm *swtpm, unsigned command_us)
{
    char socket_path[128], target[128], delay[16], said;
    int ready[2];

    snprintf(socket_path, sizeof(socket_path), "%s/proxied", swtpm->folder);
    snprintf(target, sizeof(target), "%s/sock", swtpm->folder);
    snprintf(delay, sizeof(delay), "%u", command_us);
    snprintf(proxied->log, sizeof(proxied->log), "%s/commands", swtpm->folder);
    snprintf(proxied->setting, sizeof(proxied->setting), "swtpm:path=%s", socket_path);
    unlink(socket_path);
    if (pipe(ready) != 0)
        err(1, "pipe");
    proxied->pid = fork();
    if (proxied->pid < 0)
        err(1, "fork");
    if (proxied->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ready[1], STDOUT_FILENO);
        execl(TPM_PROXY, TPM_PROXY, socket_path, target, delay, proxied->log, (char *)NULL);
        _exit(127);
    }
    close(ready[1]);
    if (read(ready[0], &said, 1) != 1)
        errx(1, "%s does not start", TPM_PROXY);
    close(ready[0]);
}

void proxied_stop(struct proxied_tpm *proxied)
{
    if (proxied->pid > 0) {
        kill(proxied->pid, SIGKILL);
        waitpid(proxied->pid, NULL, 0);
    }
    proxied->pid = 0;
}

/* How many commands from this one on are the wanted one (0: any), or which of all is the first. */
static size_t walk(const struct proxied_tpm *proxied, size_t from, uint32_t wanted, bool is_first)
{
    CLEANUP(cleanup_free) char *line = NULL;
    FILE *log = fopen(proxied->log, "re");
    size_t room = 0, number = 0, found = 0;
    bool is_over = false;

    if (!log)
        err(1, "%s", proxied->log);
    while (!is_over && getline(&line, &room, log) > COMMAND_AT + COMMAND_DIGITS) {
        uint32_t command;

        line[COMMAND_AT + COMMAND_DIGITS] = '\0';
        command = (uint32_t)strtoul(line + COMMAND_AT, NULL, 16);
        if (command == TPM2_CC_ReadClock)
            continue;
        if (number >= from && (wanted == 0 || command == wanted))
            found++;
        is_over = is_first && found > 0;
        number++;
    }
    fclose(log);
    if (is_first)
        return is_over ? number - 1 : SIZE_MAX;
    return found;
}

size_t proxied_count(const struct proxied_tpm *proxied)
{
    return walk(proxied, 0, 0, false);
}

size_t proxied_count_of(const struct proxied_tpm *proxied, size_t from, uint32_t command)
{
    return walk(proxied, from, command, false);
}

size_t proxied_find(const struct proxied_tpm *proxied, size_t from, uint32_t command)
{
    return walk(proxied, from, command, true);
}
