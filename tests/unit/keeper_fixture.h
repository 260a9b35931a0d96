/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/config.h"
#include "escrowd/ipc_messages.h"
#include "libescrow/answer.h"
#include "libescrow/probe.h"
#include "tests/unit/swtpm.h"

#include <sys/types.h>

/*
 * A keeper as a process of its own, on a TPM of its own. The test is its supervisor, its front and
 * its probers: what the replicas say is a table that the test changes. Failures end the program.
 */

#define FX_GROUP "ssis"
#define FX_DATABASE "SSISDB"
#define FX_REPLICAS 3
#define FX_PASSWORD "correct horse battery staple"
#define FX_DEADLINE_MS 60000
#define FX_SLOW_MS 1000

/* Who acts: an identity and its act key. */
struct fx_actor {
    const char *identity;
    const char *role;
    const char *instance; /* of an agent */
    EVP_PKEY *key;
    struct ec_point point;
    struct tpm_name name;
};

enum fx_who {
    FX_AGENT_A,
    FX_AGENT_B,
    FX_ADMIN,
    FX_AUDITOR,
    FX_ADMIN_2,
    FX_ADMIN_SPARE, /* another key of FX_ADMIN's identity */
    FX_ACTORS
};

struct keeper_fixture;
struct fx_replica;

/* A prober that is not honest: says what it likes. False: the question gets its honest answer. */
typedef bool (*fx_lie_fn)(struct fx_replica *replica, const struct ipc_message *question,
                          void *argument);

struct fx_replica {
    const char *instance, *server_name;
    struct probe_state state;               /* what the prober says */
    bool is_hung;                           /* the prober says nothing */
    bool has_session;                       /* the session of any nonce is found there */
    uint8_t session_nonce[ACT_NONCE_BYTES]; /* the last one that it was asked for */
    unsigned echo_after; /* any nonce is found by the question of this number; 0: never */
    unsigned echo_asked; /* how often that was asked */
    uint8_t echo_nonce[ACT_NONCE_BYTES]; /* the last one that it was asked for */
    struct probe_echo echo_failure;      /* in place of an answer to that; outcome 0: it answers */
    enum probe_opens opens;              /* what its master key does; yes at first */
    unsigned opens_asked;                /* how often that was asked */
    const char *surplus; /* a replica that it lists beside those of the policy; NULL */
    const char *lacking; /* one of the policy that it does not list; NULL */
    int fd;              /* -1: no prober, or the keeper closed its channel */
    fx_lie_fn lie;       /* NULL: it is honest */
    void *argument;      /* of lie */
    unsigned asked;      /* questions so far */
    unsigned restarts;   /* how often the keeper asked for a new one */
};

struct fx_reply {
    uint64_t id;
    bool is_there;
    unsigned status;
    enum reason reason;
    enum ipc_content content;
    char *body;
};

/* What a test of failures wants otherwise; all zero for everybody else. */
struct fx_options {
    bool is_pair;
    const struct keeper_fixture *sibling; /* a member of the same escrow; NULL: of its own */
    const char *limits;                   /* more lines of the group's policy (a pair's dead_for) */
    void (*in_keeper)(void);              /* called in the keeper's process before it begins */
    void (*on_slow)(void); /* called where it takes FX_SLOW_MS to be ready; or NULL */
    int front_ms;          /* front's own deadline; 0: none but that of the test */
    bool may_lose;         /* channels may close: what the supervisor does then is done */
    bool only_ends;        /* and with may_lose: they never close but because the keeper ends */
};

struct keeper_fixture {
    struct fx_options options;
    char folder[256];
    struct swtpm swtpm;
    EVP_PKEY *authority, *recovery;
    struct fx_actor actors[FX_ACTORS];
    struct roster *roster;
    struct tpm_name counter; /* of the member's epoch counter */
    uint64_t epoch;
    struct tpm_pcrs pcrs;
    struct escrowd_config config;
    struct escrowd_instance instances[FX_REPLICAS];
    char paths[6][300];

    pid_t pid;
    int supervisor_fd, front_fd;
    int replica_count; /* 3, or 2 of a pair */
    struct ipc_buffer *buffer;
    struct fx_replica replicas[FX_REPLICAS];
    uint64_t last_id;
    struct fx_reply reply;
    char *last_act;                    /* that was signed, compact */
    const struct act_subject *subject; /* of challenges; NULL: FX_GROUP and FX_DATABASE */
    char status[IPC_STATUS_MAX];
    unsigned asked; /* questions to probers so far */
    unsigned front_restarts;
    uint64_t last_ping, last_pong; /* ids */
    uint64_t tpm_commands;         /* by the metrics that came last */
    uint64_t commits;              /* of the log; by them, too */
    uint64_t warm_up_left;         /* the same */
    unsigned observed;             /* how often they came since they were asked for */
    unsigned alerter_restarts;
    /* Called for every reply before it is the fixture's; NULL: nobody. */
    void (*on_reply)(struct keeper_fixture *fx, uint64_t id, const struct ipc_reply *reply);
    unsigned late;   /* requests that front's deadline answered */
    unsigned lost;   /* times that the channel to the keeper closed under a request */
    int exit_status; /* of the keeper that ended by itself, as waitpid says; then pid is 0 */
};

/* Ends the program with a message. */
__attribute__((noreturn)) void fx_fail(const char *what, const char *why);

/* TPM, init, keys, roster (not published), a keeper that runs. */
void fx_start(struct keeper_fixture *fx, bool is_pair);
void fx_start_with(struct keeper_fixture *fx, const struct fx_options *options);
void fx_stop(struct keeper_fixture *fx);
/* The keeper alone: starts it, ends it as the supervisor does, kills it. */
void fx_run(struct keeper_fixture *fx);
/* The same; false if it ended before it was ready (exit_status). */
bool fx_try_run(struct keeper_fixture *fx);
void fx_shut_down(struct keeper_fixture *fx);
/* The same; false if it ended otherwise (exit_status). */
bool fx_try_shut_down(struct keeper_fixture *fx);
void fx_kill(struct keeper_fixture *fx);

/* The same keeper under a policy that has these lines more. */
void fx_run_with(struct keeper_fixture *fx, const char *lines);

/* A new front, after the keeper closed the channel to the old one. */
void fx_attach_front(struct keeper_fixture *fx);
void fx_attach_prober(struct keeper_fixture *fx, int replica);
/* An alerter, which the test speaks for: the end of its channel, the caller's to close. The keeper
 * must have been started with an alert in fx->config. */
int fx_attach_alerter(struct keeper_fixture *fx);
/* Serves what there is until the keeper has closed its end of the channel to front. */
void fx_wait_front_closed(struct keeper_fixture *fx);
/* Until the keeper has asked for a new front, or for a new prober, so often. */
void fx_wait_front_restarts(struct keeper_fixture *fx, unsigned count);
void fx_wait_restarts(struct keeper_fixture *fx, int replica, unsigned count);
/* Until a new ping is answered; how long that took, in ms. */
int64_t fx_ping(struct keeper_fixture *fx);
/* Commands that the keeper has sent to its TPM, by its metrics. */
uint64_t fx_tpm_commands(struct keeper_fixture *fx);
/* How often it has written to its log, by them. */
uint64_t fx_commits(struct keeper_fixture *fx);
/*
 * Until the keeper has nothing more to do at its TPM ahead of releases (keeper_warm.h), by its
 * metrics. For a test that stops the TPM or counts its commands; a roster must be published.
 */
void fx_wait_warm(struct keeper_fixture *fx);
/* The same for a keeper that may fail; false if it was not so in time. */
bool fx_try_warm(struct keeper_fixture *fx, int64_t within_ms);
/* IPC_OBSERVED has come. */
void fx_note_observed(struct keeper_fixture *fx, const struct ipc_message *message);
/* Serves one message of every channel that has one. */
void fx_serve(struct keeper_fixture *fx, int timeout_ms);
/* The keeper's open descriptors, and its resident memory in bytes. */
unsigned fx_descriptors(const struct keeper_fixture *fx);
size_t fx_memory(const struct keeper_fixture *fx);
/* `escrowd init` once more. */
enum escrow_err fx_init_again(struct keeper_fixture *fx);

/* Makes the replica primary, everybody else its healthy secondary. */
void fx_set_primary(struct keeper_fixture *fx, int replica);
/* Waits until the keeper's status names the instance as primary of the group, or NULL: none. */
void fx_wait_primary(struct keeper_fixture *fx, const char *instance);

/* Sends a request as front; replies come by fx_wait. The reply's body is the fixture's. */
uint64_t fx_send(struct keeper_fixture *fx, enum route route, const char *identity,
                 const char *body);
/* The same with everything that front may say, under any id. ESCROW_ERR_TIMEOUT: not now. */
enum escrow_err fx_try_request(struct keeper_fixture *fx, uint64_t id,
                               const struct ipc_request *request);
/* Status 0: the channel closed instead. */
const struct fx_reply *fx_wait(struct keeper_fixture *fx, uint64_t id);
const struct fx_reply *fx_ask(struct keeper_fixture *fx, enum route route, const char *identity,
                              const char *body);
/* Sends the signed body; the answer to its act, verified, or NULL if it was refused. */
struct answer *fx_finish(struct keeper_fixture *fx, enum fx_who who, enum route route,
                         const char *body, const struct act *act);
/* Serves the probers until the condition holds. */
void fx_until(struct keeper_fixture *fx, bool (*is_done)(struct keeper_fixture *fx));

/* A challenge; NULL if it was refused (see fx->reply). The answer was verified. */
struct answer *fx_challenge(struct keeper_fixture *fx, enum fx_who who, enum act_kind kind,
                            enum act_purpose purpose);
/*
 * The body of a signed act that answers a challenge: aud, nonce and subject are filled from it
 * unless they are set already.
 */
char *fx_sign(struct keeper_fixture *fx, enum fx_who who, const struct answer *challenge,
              struct act *act);
/* A group setup that leaves a keeper with roster, approvals, one deposit and node-a as primary. */
int fx_setup_ready(void **state);
/* The same, fresh: nothing is published. */
int fx_setup(void **state);
/* As fx_setup_ready, with one more database "Other", and one more group "other" with FX_DATABASE.
 */
int fx_setup_others(void **state);
/* As fx_setup_ready, with a group of two replicas and witnesses: candidate+silence. */
int fx_setup_pair(void **state);
int fx_teardown(void **state);
/* The reason of the reply to this body; REASON_NONE if it was served. */
enum reason fx_reason(struct keeper_fixture *fx, enum route route, enum fx_who who,
                      const char *body);
/* Challenge, act, reply. NULL and fx->reply if it was refused. */
struct answer *fx_act(struct keeper_fixture *fx, enum fx_who who, enum route route,
                      struct act *act);

/* Publishes the roster, and approvals for both agents and the boot state. */
void fx_publish(struct keeper_fixture *fx);
/* Another roster alone, signed by this key; the reason of the reply. On success it is the
 * fixture's. */
enum reason fx_publish_roster(struct keeper_fixture *fx, json_t *payload, EVP_PKEY *authority);
/* A deposit of FX_PASSWORD as the challenge wants it. */
struct act *fx_deposit_act(struct keeper_fixture *fx, const struct answer *challenge,
                           const char *password);
void fx_deposit(struct keeper_fixture *fx, const char *password);
/* A release act for the challenge's first object to this recipient. */
struct act *fx_release_act(struct keeper_fixture *fx, enum fx_who who,
                           const struct answer *challenge, EVP_PKEY *recipient);
/* The whole of it; NULL and fx->reply if it was refused. */
struct answer *fx_release(struct keeper_fixture *fx, enum fx_who who, EVP_PKEY *recipient);
/* The password in a grant's object. */
struct secret *fx_open(const struct answer *grant, EVP_PKEY *recipient);

/* The records of the log, an array, owned by the caller; all, or from a sequence number on. */
json_t *fx_log(struct keeper_fixture *fx);
json_t *fx_log_from(struct keeper_fixture *fx, uint64_t sequence);
/* How many records have this event, and this reason (NULL: any). */
unsigned fx_count(struct keeper_fixture *fx, const char *event, const char *reason);
/* Waits until there are as many: a record that need not come before a reply comes a little later.
 */
void fx_wait_count(struct keeper_fixture *fx, const char *event, const char *reason,
                   unsigned count);
/* The reasons for which the keeper is not ready, as GET /v1/health has them. */
bool fx_lacks(struct keeper_fixture *fx, enum reason reason);
/* Waits until it does, or does not, for at most the deadline. */
void fx_wait_lacks(struct keeper_fixture *fx, enum reason reason, bool lacks);
/* The roster's payload, to be bent; owned by the caller. */
json_t *fx_roster_payload(struct keeper_fixture *fx, unsigned version);
