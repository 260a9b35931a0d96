/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/ipc.h"
#include "libescrow/reason.h"

#include <jansson.h>

/*
 * Whether this member can serve, as a list of named checks: the one source of /readyz,
 * /v1/health, the metrics and what the service manager is told. The keeper makes the first ones,
 * front the others. Names are stable; no detail holds a secret.
 */
enum check_name {
    CHECK_LOG = 0, /* the audit log can be written, is whole, and has space */
    CHECK_STORE,
    CHECK_CLOCK,  /* not earlier than the last record */
    CHECK_ROSTER, /* there is one, and this member is in it */
    CHECK_TPM,    /* it answers, and is the one of this member */
    CHECK_POLICY,
    CHECK_PROBERS, /* every instance has one */
    CHECK_ALERT,   /* the last alert was delivered */
    CHECK_GROUPS,  /* master keys open, and the groups are those of the policy */
    CHECK_OF_KEEPER,
    CHECK_KEEPER = CHECK_OF_KEEPER, /* it answers front */
    CHECK_CERTIFICATE,              /* front's own, its CAs and revocation lists */
    CHECK_COUNT,
};

enum check_status {
    CHECK_OK = 0,
    CHECK_WARN, /* serves; somebody should look */
    CHECK_FAIL, /* does not serve, or not everything */
    CHECK_UNKNOWN,
};

#define CHECK_DETAIL_MAX 200

struct check {
    enum check_status status;
    enum reason reason; /* REASON_NONE with CHECK_OK */
    char detail[CHECK_DETAIL_MAX];
};

__attribute__((format(printf, 4, 5))) void check_set(struct check *check, enum check_status status,
                                                     enum reason reason, const char *format, ...);

/* "log". Never NULL. */
const char *check_word(enum check_name name);
/* {"ready": bool, "checks": [{"name", "status", "reason": code or null, "detail"}]}; NULL without
 * memory. */
json_t *check_json(const struct check checks[static CHECK_COUNT]);
/* True if none fails. */
bool check_is_ready(const struct check *checks, size_t count);

/* IPC_OBSERVED: the keeper's checks, and its metrics as text; text is borrowed from the message. */
void ipc_put_observed(struct ipc_writer *writer, const struct check checks[static CHECK_OF_KEEPER],
                      const char *text, size_t len);
MUST_CHECK enum escrow_err ipc_get_observed(const struct ipc_message *message,
                                            struct check ret_checks[static CHECK_OF_KEEPER],
                                            const char **ret_text, size_t *ret_len);
