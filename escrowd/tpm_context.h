/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/metric.h"
#include "libescrow/key.h"
#include "libescrow/secret.h"

#include <stdint.h>

/*
 * The TPM of this member, as the keeper uses it: one connection, what was found in the TPM by Name,
 * and one kept policy session. A TPM that went away (killed, restarted, hung) costs the calls until
 * it is back, nothing more: each call first connects anew if it must, flushes what an earlier
 * process or connection left in the TPM's few slots, and finds the keys again. Never holds a
 * plaintext, and never asks the TPM for one.
 *
 * escrowd owns its TPM: leftovers of other users are flushed too.
 *
 * For the sandbox: nothing is loaded at run time. A connection needs, at any time, socket(AF_UNIX)
 * and connect to the path (swtpm), or open of the device for reading and writing; then read, write,
 * poll and close.
 *
 * Results of all calls that reach the TPM:
 *   ESCROW_ERR_UNAVAILABLE  it does not answer, or cannot do it now: try again later
 *   ESCROW_ERR_CRYPTO       a signature, point or integrity value is not right
 *   ESCROW_ERR_TPM          it refused; the log line names command and response code
 */
struct tpm;

/* What a member has in its TPM. The Names are public; they stand in the roster. */
struct tpm_names {
    struct tpm_name storage;
    struct tpm_name audit;
    struct tpm_name counter;
};

/*
 * How long a TPM may take for one command before it counts as gone. Slow discrete TPMs need seconds
 * for a key, and a call is up to 20 commands: a caller that must answer sooner needs a watchdog
 * outside its process.
 */
#define TPM_COMMAND_TIMEOUT_MS 10000

/*
 * A context for a setting, "swtpm:path=/absolute/socket" or "device:/dev/...". Does not connect:
 * every later call does. ESCROW_ERR_CONFIG with a log line if the setting is neither.
 */
MUST_CHECK enum escrow_err tpm_open(const char *setting, int command_timeout_ms,
                                    struct tpm **ret_tpm);
/* Flushes the kept session, if the TPM answers, and closes. */
void tpm_close(struct tpm *tpm);
CLEANUP_FUNCTION(tpm_close_p, struct tpm, tpm_close)

/*
 * From any thread, and for good: the command that waits for its answer fails now, every later one
 * at once (ESCROW_ERR_UNAVAILABLE).
 */
void tpm_stop(struct tpm *tpm);

/*
 * Names what this member has in the TPM; auth (storage and audit key's) is borrowed for the life of
 * tpm. The TPM is not asked yet.
 */
void tpm_attach(struct tpm *tpm, const struct tpm_names *names, const struct secret *auth);

/*
 * Asks the TPM a small question, after connecting and finding everything if need be; all over again
 * if it was reset since it was asked last. Also ESCROW_ERR_NOT_FOUND with a log line: this TPM does
 * not hold what tpm_attach named.
 */
MUST_CHECK enum escrow_err tpm_check(struct tpm *tpm);

/* How many commands were sent since tpm_open. */
uint64_t tpm_commands(const struct tpm *tpm);

/* For metrics, since tpm_open. */
struct tpm_numbers {
    uint64_t commands;
    uint64_t beginnings;       /* with all found anew; what it kept before is forgotten */
    uint64_t losses;           /* connections that failed, commands without an answer */
    uint64_t refusals;         /* response codes that were not success */
    struct metric_times times; /* of commands that were answered */
};
void tpm_numbers(const struct tpm *tpm, struct tpm_numbers *ret_numbers);
