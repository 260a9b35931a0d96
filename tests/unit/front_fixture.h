/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "escrowd/ipc_messages.h"

#include <sys/types.h>

/*
 * A front as a process of its own. The test is its supervisor, its keeper and its clients, all in
 * one thread: everything happens in ff_turn. Failures end the program. Whoever links this wraps
 * sandbox_enter (the sandbox has tests of its own).
 */

#define FF_DEADLINE_MS 20000

/* Clients by their certificates. */
enum ff_who {
    FF_AGENT,
    FF_OTHER,    /* as good as the agent's */
    FF_REVOKED,  /* on the revocation list */
    FF_STRANGER, /* by a CA that front does not know */
    FF_WHO,
};

struct ff_options {
    void (*in_front)(void); /* called in front's process before it begins; NULL: nothing */
    int64_t request_ms;
};

struct front_fixture {
    struct ff_options options;
    char folder[256], paths[4][300];
    struct escrowd_config config;
    SSL_CTX *contexts[FF_WHO];
    struct ipc_buffer *buffer;
    int listener_fd;
    uint16_t port;

    pid_t pid; /* 0: it has ended */
    int exit_status;
    bool is_ready;
    int supervisor_fd, keeper_fd; /* -1: closed */

    bool is_mute;        /* the keeper gets requests and answers none */
    unsigned requests;   /* that it got */
    unsigned refused;    /* refusals that it was told of, */
    unsigned overloaded; /* and of these so many for that reason */
    bool is_foreign;  /* one of them came under another identity than the agent's or the other's */
    unsigned reloads; /* that front answered */
    uint64_t last_pong;
};

/* A client and its connection; {.fd = -1} before it dials. */
struct ff_client {
    int fd;
    SSL *ssl;
    BIO *in, *out;       /* the SSL's */
    const char *request; /* to be sent when the handshake is done */
    char reply[8192];
    size_t len;
    bool is_over;  /* it was closed, or failed */
    bool is_plain; /* something came that is no record of TLS */
    uint8_t head[5];
    size_t head_len, record_left;
    size_t records; /* that have begun */
};

__attribute__((noreturn)) void ff_fail(const char *what, const char *why);

/* Certificates, a listening socket, a front that runs, a keeper's channel. */
void ff_start(struct front_fixture *fx, const struct ff_options *options);
void ff_stop(struct front_fixture *fx);
/* Front alone; false if it ended before it was ready (exit_status). */
bool ff_run(struct front_fixture *fx);
/* As the supervisor ends it; afterwards exit_status is set. */
void ff_shut_down(struct front_fixture *fx);
/* A new keeper, after the channel to the old one was closed. */
void ff_attach_keeper(struct front_fixture *fx);
/* Offers the credentials again. */
void ff_reload(struct front_fixture *fx);
/* Until front has answered, or is gone. */
void ff_ping(struct front_fixture *fx, uint64_t id);
/* Front's open descriptors. */
unsigned ff_descriptors(const struct front_fixture *fx);

/* Connects; from: an address of the loopback network, NULL: any. */
void ff_connect(struct front_fixture *fx, struct ff_client *client, enum ff_who who,
                const char *from);
/* Sends the ClientHello. */
void ff_greet(struct ff_client *client);
/* Both. */
void ff_dial(struct front_fixture *fx, struct ff_client *client, enum ff_who who, const char *from);
/* Sends the request, a whole one, as soon as it can be. The text must outlive it. */
void ff_ask(struct ff_client *client, const char *request);
/* The status of the reply that is there as a whole; 0: not yet. */
int ff_status(const struct ff_client *client);
void ff_hang_up(struct ff_client *client);
/* Does what can be done for the clients and the roles; waits for something at most so long. */
void ff_turn(struct front_fixture *fx, struct ff_client *clients, size_t count, int timeout_ms);
/* Turns until every client has its reply or is over; false: not within the time, or front ended. */
bool ff_finish(struct front_fixture *fx, struct ff_client *clients, size_t count, int timeout_ms);

/* Requests as text. */
extern const char ff_get[], ff_post[], ff_wait[];
