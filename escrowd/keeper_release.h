/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/keeper_round.h"
#include "escrowd/keeper_state.h"
#include "escrowd/store_ledger.h"
#include "escrowd/store_orders.h"

/*
 * What keeper_release.c (may it happen?) and keeper_grant.c (let it happen) share about a release,
 * and what keeper_rebaseline.c, which decides on the same facts and lets nothing happen, has of it.
 */

/*
 * A grant rests on facts of at most this age when the TPM duplicates, and all rounds of a request
 * together may take so long; both beside what the policy itself wants to wait for a rival.
 */
#define RELEASE_FACTS_MAX_MS 2000
#define RELEASE_DEADLINE_MS 6000
/* Who has not answered a question by then is silent. */
#define RELEASE_ASK_MS 1500
#define HTTP_ACCEPTED 202 /* admins are asked, by the number that the reply has */

struct release {
    struct target target;
    const struct policy_replica *replica; /* the candidate; the policy's */
    struct ec_point key_point;            /* of the act key */
    json_t *versions;                     /* array of numbers, as the objects of the act */
    int64_t deadline_ms;                  /* CLOCK_BOOTTIME */
    struct round *round;
    uint64_t asked_epoch; /* of the group, when the replicas were asked */
    struct policy_request asked;
    struct policy_ledger ledger;
    struct policy_verdict verdict;
    uint64_t epoch;
    uint64_t roster_version; /* by which the act was checked */
    struct answer *answer;   /* the grant, but for what the TPM makes of the objects */
};

/*
 * Whether the TPM could let the objects out if the decision were to allow it: they are live
 * versions and both approvals are there. REASON_NONE or why not.
 */
MUST_CHECK enum reason release_check_grantable(struct request *request);
/* How long the facts will be young enough for a grant; negative: they are not any more. */
int64_t release_fresh_for_ms(const struct request *request);
/* What policy_decide was given and what it said, so that anybody can decide again; owned by the
 * caller, NULL without memory. */
json_t *release_decision_json(const struct release *release);
/*
 * The policy wants to know more, or to wait: until then, or for the next answer. If that is later
 * than the deadline the request is refused, with what is waited for or REASON_DEADLINE, and never
 * with a reason by which admins would have been asked.
 */
void release_wait_on(struct request *request, int64_t elapsed_ms);
/*
 * What the replicas said would begin an epoch, but is of before the one that the group is in by
 * now: who was primary then has not become it since.
 */
bool release_is_of_before(const struct request *request);
/* The roster by which the act was checked is still in force. */
bool release_is_by_roster(const struct request *request);
/* The decision is no longer good: asks all replicas again, or gives up. From any context. */
void release_ask_again(struct request *request);
