/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/fork.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

static void become_child(pid_t parent)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* The parent may have ended between fork and prctl. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(FORK_EXIT_FAILED);
}

pid_t fork_child(void)
{
    pid_t parent = getpid(), pid;
    sigset_t all, before;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid = fork();
    if (pid == 0)
        become_child(parent);
    else
        sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}
