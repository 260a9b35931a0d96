/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/tls.h"

#include <stdint.h>
#include <sys/types.h>

/*
 * A small HTTPS server in a process of its own, for tests of clients: answers what its handler
 * says, one connection after the other, keep-alive. It has a copy of everything that the test had
 * when it was started.
 */

/* The whole answer, status line first, owned by the caller; NULL: close without an answer. */
typedef char *(*https_handler_fn)(const char *method, const char *path, const char *body,
                                  void *argument);

struct https_server_config {
    const struct tls_config *tls; /* NULL: speaks plain text */
    int max_version;              /* of TLS; 0: as tls.h has it */
    int connections_max;          /* no more are accepted after that; 0: any number */
    https_handler_fn handler;
    void *argument;
};

struct https_server {
    pid_t pid;
    uint16_t port; /* on 127.0.0.1 */
};

void https_server_start(const struct https_server_config *config, struct https_server *ret_server);
void https_server_stop(struct https_server *server);

/* "HTTP/1.1 STATUS\r\n...": a JSON answer, with more header lines (each with its line end). */
char *https_answer(int status, const char *more_headers, const char *body);
