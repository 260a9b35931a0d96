/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/journal.h"
#include "tests/sqlsim/model.h"
#include "tests/sqlsim/tds_login.h"
#include "tests/sqlsim/trouble.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/ssl.h>

#include <netinet/in.h>

/*
 * The one process: the model, its clock, and an instance with a TDS port for each of its. One
 * thread; time passes by libevent timers only.
 */
struct connection;
struct control;
struct pcap;

struct instance {
    struct simulator *simulator;
    size_t index; /* in the model */
    /* settings */
    uint16_t port;                     /* 0 until instance_open for a port of the system's choice */
    char *certificate_file, *key_file; /* NULL: the fallback certificate */
    char *keytab;                      /* of its service account; NULL: no Kerberos */
    char *network;                     /* the file of its network namespace; NULL: 127.0.0.1 here */
    enum tds_encryption_mode encryption;
    int tls_max;
    /* run time */
    SSL_CTX *tls;
    int reserved_fd; /* bound, never listening: keeps the port while the instance is dead */
    struct evconnlistener *listener;
    LIST_HEAD(instance_connections, connection) connections;
    size_t waiting; /* those with a batch that waits for a lock */
    struct journal journal;
    uint64_t connection_count; /* since the start */
    uint64_t clear_bytes;      /* received without TLS after a login */
    uint64_t attentions;
    struct troubles troubles;
};

/* The name by which clients reach a group, wherever its primary is. */
struct listener {
    struct simulator *simulator;
    size_t group;  /* in the model */
    uint16_t port; /* 0 until listener_open for a port of the system's choice */
    struct evconnlistener *events;
};

struct simulator {
    struct event_base *base;
    struct event *timer; /* the model's next due phase */
    struct event *check; /* activated after every change: control looks at who waits */
    struct model model;
    struct instance instances[MODEL_INSTANCES_MAX];
    struct listener listeners[MODEL_GROUPS_MAX];
    size_t listener_count;
    struct control *control;
    char *control_path;
    struct pcap *pcap; /* NULL: nothing is written */
};

/* CLOCK_MONOTONIC in milliseconds. */
int64_t simulator_now(void);

/* Brings the model to the present; before anything is asked of it. */
void simulator_advance(struct simulator *simulator);
/* After anything that may have changed: arms the timer, wakes who waits. */
void simulator_changed(struct simulator *simulator);

MUST_CHECK enum escrow_err simulator_open(struct simulator *simulator);
void simulator_close(struct simulator *simulator);

/* listener.c */
MUST_CHECK enum escrow_err listener_open(struct listener *listener);
void listener_close(struct listener *listener);

/* instance.c. Where it listens. */
struct sockaddr_in instance_address(const struct instance *instance);
/* Binds and listens, or ESCROW_ERR_SYSTEM, ESCROW_ERR_CONFIG. */
MUST_CHECK enum escrow_err instance_open(struct instance *instance);
void instance_close(struct instance *instance);
/* Refuses connections and resets those that are open. */
void instance_kill(struct instance *instance);
MUST_CHECK enum escrow_err instance_start(struct instance *instance);
/* Accepts, and answers nothing, on old and new connections. */
void instance_hang(struct instance *instance);
void instance_resume(struct instance *instance);
/* After anything that may have changed: batches that wait for a lock. */
void instance_retry(struct instance *instance);
