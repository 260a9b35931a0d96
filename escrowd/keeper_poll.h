/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/keeper_probers.h"
#include "policy/policy.h"

/*
 * The watch's questions: every instance is asked for the states of all its databases, in parts of
 * which each is one statement there, so that what an instance has to do does not grow with every
 * group. No instance waits for another one, and none is asked again for what it has not answered.
 * It remembers nothing of what they say.
 */
struct poll;

struct poll_answer {
    size_t target;  /* its number among all databases of the policy, in its order */
    size_t replica; /* of its group */
    const struct probe_state *state; /* NULL: the instance cannot be asked, or will not answer */
    int64_t asked_ms;                /* CLOCK_BOOTTIME */
};
/* Called within poll_ask and from the event loop. */
typedef void (*poll_answer_fn)(const struct poll_answer *answer, void *argument);

struct poll_config {
    struct probers *probers;
    const struct policy *policy;
    poll_answer_fn on_answer;
    void (*on_end)(void *argument); /* of the answers to one question */
    void *argument;
};

/* config is copied, what it points at is borrowed. ESCROW_ERR_NO_MEMORY. */
MUST_CHECK enum escrow_err poll_new(const struct poll_config *config, struct poll **ret_poll);
/* Nothing is answered any more. */
void poll_free(struct poll *poll);
CLEANUP_FUNCTION(poll_free_p, struct poll, poll_free)

/* Once a second: asks for every part that is not being asked for. */
void poll_ask(struct poll *poll);
