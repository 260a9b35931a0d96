/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/keeper_probers.h"
#include "escrowd/target.h"
#include "policy/decide.h"

/*
 * One question to all replicas of a group at once, and the facts that come back. Where there is a
 * candidate, and the group wants it, each other replica whose echo counts (policy_echo_counts) is
 * also asked for it, again and again until one has it. A round does not know what its facts are
 * for.
 */
struct round;

/* A replica answered, or will not any more. The round may be freed in it. */
typedef void (*round_change_fn)(struct round *round, size_t replica, void *argument);

struct round_config {
    struct probers *probers;
    struct event_base *base; /* for what is asked again; not needed without a candidate */
    const struct policy *policy;
    struct target target;
    /* The instance that is asked for the session of a nonce under a login; NULL: nobody is. */
    const char *candidate;
    const uint8_t *nonce; /* ACT_NONCE_BYTES; the caller's, as the texts: they outlive the round */
    const char *login;
    const char *asker;         /* the identity that it is asked for; "": the keeper itself */
    round_change_fn on_change; /* called from the event loop only */
    void *argument;
};

/*
 * Asks. Replicas without a prober are silent from the start. ESCROW_ERR_DENIED: a prober has too
 * much to do for this asker, or in all. ESCROW_ERR_NO_MEMORY.
 */
MUST_CHECK enum escrow_err round_new(const struct round_config *config, struct round **ret_round);
/* NULL is allowed. */
void round_free(struct round *round);
CLEANUP_FUNCTION(round_free_p, struct round, round_free)

/* The facts as they are now, elapsed_ms included; histories are the caller's to fill. */
struct policy_facts *round_facts(struct round *round);
/* What has not been answered is not waited for any more; a state that comes all the same counts. */
void round_give_up(struct round *round);
