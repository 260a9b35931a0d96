/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "tests/sqlsim/connection.h"
#include "tests/sqlsim/kerberos.h"
#include "tests/sqlsim/pcap.h"
#include "tests/sqlsim/reply.h"
#include "tests/sqlsim/session.h"
#include "tests/sqlsim/tds_packet.h"
#include "tests/sqlsim/tds_tls.h"
#include "tests/sqlsim/trouble.h"

#include <event2/bufferevent.h>

/*
 * What connection.c (its life), connection_login.c (LOGIN7 and tokens), connection_request.c (what
 * is asked after the login) and connection_send.c (how answers leave, troubles included) share.
 */
enum connection_stage { STAGE_PRELOGIN, STAGE_HANDSHAKE, STAGE_LOGIN, STAGE_SSPI, STAGE_READY };

struct connection {
    LIST_ENTRY(connection) entry;
    struct instance *instance;
    const struct model_group *listener; /* NULL: it came by the instance's own port */
    struct bufferevent *stream;
    struct sockaddr_in peer;
    struct pcap_flow flow;
    struct event *ending; /* activated to close it from outside its own callbacks */
    enum connection_stage stage;
    bool is_closing;   /* nothing is read any more; it ends when its answers are out */
    bool is_reset;     /* and then by a TCP reset */
    bool is_silent;    /* what comes is dropped, nothing leaves */
    bool is_blocked;   /* its batch waits; an attention ends that */
    bool is_encrypted; /* now */
    enum tds_encryption encryption;
    struct tds_tls *tls;
    struct evbuffer *plain; /* decrypted, not yet parsed */
    struct tds_message message;
    size_t packet_size;
    size_t counted_clear;      /* bytes of the input that clear_bytes has counted */
    struct tds_login login;    /* as it came */
    struct kerberos *kerberos; /* NULL: not of an integrated login */
    struct session *session;
    char *waiting;          /* the batch that waits for a lock, or NULL */
    struct event *patience; /* when LOCK_TIMEOUT is over */
    unsigned replies;       /* sent so far */
    struct trouble trouble; /* of the next answer; texts not owned */
    struct evbuffer *late;  /* answers that a trouble holds back */
    struct event *pace;     /* when the next part of it leaves */
    size_t pace_bytes;      /* its size; 0: answers leave at once */
    int64_t pace_ms;
};

struct evbuffer *connection_buffer(void); /* a new one */
const struct model_instance *connection_model(const struct connection *connection);

/* Ends the connection when what was answered is on its way. */
void connection_finish(struct connection *connection);

/* connection_login.c: LOGIN7, and what the client's security library sends after it. */
void connection_login(struct connection *connection, const uint8_t *payload, size_t len);
void connection_login_token(struct connection *connection, const uint8_t *payload, size_t len);

/* connection_request.c: the message of a client that is logged in. */
void connection_request(struct connection *connection, const uint8_t *payload, size_t len);
void connection_on_patience(evutil_socket_t fd, short what, void *argument);

/* connection_send.c */

/* The trouble that strikes at this stage; it applies to the next answer. login and statement: see
 * struct trouble_occasion. */
enum trouble_kind connection_meet(struct connection *connection, enum trouble_stage stage,
                                  const char *login, const char *statement);
/* Puts the error of a TROUBLE_ERROR that was met in place of a reply. */
void connection_trouble_error(struct connection *connection, struct reply *reply);
/* Ends or silences the connection as the trouble that was met says. */
void connection_stop(struct connection *connection);
/* Sends a message, encrypted or not as the connection is now; empties the payload. */
void connection_send(struct connection *connection, uint8_t type, struct evbuffer *payload);
void connection_send_reply(struct connection *connection, const struct reply *reply);
void connection_on_pace(evutil_socket_t fd, short what, void *argument);
