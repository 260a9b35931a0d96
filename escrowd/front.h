/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"

/*
 * Front: the role that clients talk to. It ends TLS, checks the client's certificate on every
 * request, parses HTTP and nothing more, and passes the body as bytes to the keeper. It has no key
 * but that of its certificate, no files, no TPM, and decides nothing: taken over, it can refuse
 * service and read ciphertext.
 */

/* What the role finds open. */
struct front_descriptors {
    int supervisor;
    int listener;
    int credentials;
    int monitor; /* where health and metrics are served; -1: nowhere */
};

/*
 * The role's life. Reads its credentials, enters the sandbox, serves the listening sockets until
 * the supervisor says shut down; new credentials come from the supervisor and count from the next
 * handshake and request on. Takes all descriptors.
 */
MUST_CHECK enum escrow_err front_run(const struct escrowd_config *config,
                                     const struct front_descriptors *descriptors);
