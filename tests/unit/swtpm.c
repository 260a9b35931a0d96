/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/swtpm.h"

#include "libescrow/cleanup.h"

#include <err.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_MS 20000

static struct sockaddr_un control_address(const struct swtpm *swtpm)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock.ctrl", swtpm->folder);
    return address;
}

static _Noreturn void run(const struct swtpm *swtpm, int control)
{
    char state[128], server[128], ctrl[32], log[128];

    snprintf(state, sizeof(state), "dir=%s", swtpm->folder);
    snprintf(server, sizeof(server), "type=unixio,path=%s/sock", swtpm->folder);
    snprintf(ctrl, sizeof(ctrl), "type=unixio,fd=%d", control);
    snprintf(log, sizeof(log), "file=%s/log", swtpm->folder);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
        execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server,
               "--ctrl", ctrl, "--log", log, "--flags", "not-need-init,startup-clear",
               (char *)NULL);
    _exit(127);
}

/*
 * The control socket listens before swtpm runs, so asking it something waits for exactly the moment
 * when the TPM is up, without trying again and again.
 */
static void wait_until_up(const struct swtpm *swtpm)
{
    static const uint8_t get_capability[] = {0, 0, 0, 1};
    const struct sockaddr_un address = control_address(swtpm);
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    uint8_t answer[16];

    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(fd, get_capability, sizeof(get_capability), MSG_NOSIGNAL) < 0)
        err(1, "swtpm: %s", address.sun_path);
    if (poll(&poller, 1, START_TIMEOUT_MS) != 1 || read(fd, answer, sizeof(answer)) <= 0)
        errx(1, "swtpm does not start (is it installed?); its log is %s/log", swtpm->folder);
}

void swtpm_restart(struct swtpm *swtpm)
{
    const struct sockaddr_un address = control_address(swtpm);
    CLEANUP(cleanup_close) int control = socket(AF_UNIX, SOCK_STREAM, 0);

    unlink(address.sun_path);
    if (control < 0 || bind(control, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(control, 8) != 0)
        err(1, "swtpm: %s", address.sun_path);
    swtpm->pid = fork();
    if (swtpm->pid < 0)
        err(1, "fork");
    if (swtpm->pid == 0)
        run(swtpm, control);
    cleanup_close(&control);
    wait_until_up(swtpm);
}

void swtpm_start(struct swtpm *swtpm)
{
    const char *base = getenv("TMPDIR");

    *swtpm = (struct swtpm){.pid = 0};
    snprintf(swtpm->folder, sizeof(swtpm->folder), "%s/swtpm.XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(swtpm->folder))
        err(1, "swtpm: %s", swtpm->folder);
    snprintf(swtpm->setting, sizeof(swtpm->setting), "swtpm:path=%s/sock", swtpm->folder);
    swtpm_restart(swtpm);
}

void swtpm_kill(struct swtpm *swtpm)
{
    if (swtpm->pid > 0) {
        kill(swtpm->pid, SIGKILL);
        waitpid(swtpm->pid, NULL, 0);
    }
    swtpm->pid = 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void swtpm_stop(struct swtpm *swtpm)
{
    swtpm_kill(swtpm);
    if (nftw(swtpm->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0)
        err(1, "swtpm: %s", swtpm->folder);
}
