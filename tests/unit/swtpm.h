/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

/*
 * A TPM of its own for a test: an swtpm process on a Unix socket in a new folder below TMPDIR. It
 * dies with the test program. Every function ends the program with a message if it cannot do its
 * job.
 */
struct swtpm {
    char folder[80];
    char setting[128]; /* "swtpm:path=FOLDER/sock", for tpm_open and for tpm2-tools' --tcti */
    pid_t pid;         /* 0 while it does not run */
};

/* A fresh TPM, answering. */
void swtpm_start(struct swtpm *swtpm);
/* kill -9: what was not in NV memory is lost, and no TPM2_Shutdown was sent. */
void swtpm_kill(struct swtpm *swtpm);
/* Starts it again with the state that it left. */
void swtpm_restart(struct swtpm *swtpm);
/* Ends it and removes its folder. */
void swtpm_stop(struct swtpm *swtpm);
