/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The rules of a release and what each record does to the ledger, as expressions and assignments
 * that C and Promela read alike. spin checks promotion.pml with them; test_model holds every one of
 * them against policy_decide, policy_observe and the ledger itself, so that the model cannot say
 * one thing and the code another.
 *
 * A ledger l has the members known, primary, origin, grant, holder, requests; who is the
 * number of a replica. Windows and brake are left out of the model: they only make an approval out
 * of a release. That approvals are for one requester and one epoch is left out too: in the model
 * the admins may approve whatever asks for it.
 */

#define NOBODY 9

#define ORIGIN_BASELINE 1
#define ORIGIN_OBSERVED 2
#define ORIGIN_GRANTED 3
#define ORIGIN_UNPROVEN 4

#define GRANT_NONE 1
#define GRANT_UNSETTLED 2
#define GRANT_SETTLED 3

/*
 * What the replicas said: says (the candidate says PRIMARY), found (the requester's session is
 * there), names (replicas that name the candidate, itself counted), rival (another says PRIMARY),
 * echoed (a secondary has read what was committed on the candidate, or nobody asks for that).
 */
#define IS_RECORDED(l, who) (l.known && l.primary == (who))
#define IS_REPEAT(l, who) (IS_RECORDED(l, who) && l.grant == GRANT_UNSETTLED)
#define IS_RESTART(l, who)                                                                         \
    (IS_RECORDED(l, who) &&                                                                        \
     (l.grant == GRANT_SETTLED ||                                                                  \
      (l.grant == GRANT_NONE && (l.origin == ORIGIN_BASELINE || l.origin == ORIGIN_UNPROVEN))))

#define IS_DENIED(l, who, says, found, names, needed)                                              \
    (!(says) || !(found) || (names) < (needed) ||                                                  \
     (IS_RECORDED(l, who) && l.grant != GRANT_NONE && l.holder != (who)))
/* Of what is not denied. */
#define IS_FOR_ADMINS(l, who, rival, echoed, retries)                                              \
    ((rival) || !(echoed) || !l.known || IS_RESTART(l, who) ||                                     \
     (IS_REPEAT(l, who) && l.requests > (retries)))
/* Of what is allowed, or will be by an approval. */
#define IS_MINTING(l, who)                                                                         \
    (!IS_RECORDED(l, who) ||                                                                       \
     (IS_RESTART(l, who) && (l.grant == GRANT_SETTLED || l.origin == ORIGIN_BASELINE)))
/* The origin of the epoch that it begins then: GRANTED, which is one less, if another primary was
 * known. */
#define ORIGIN_OF_GRANT(l, who) (ORIGIN_UNPROVEN - (l.known && l.primary != (who)))

/* The watch takes the candidate for a primary that the ledger does not know. */
#define IS_OBSERVED(l, who, says, names, needed, rival)                                            \
    ((says) && (names) >= (needed) && !(rival) && !IS_RECORDED(l, who))

/* An admin's rebaseline: for whoever is recorded now, by what the replicas say; without session. */
#define IS_REBASELINED(says, names, needed, rival) ((says) && (names) >= (needed) && !(rival))

/* A record that begins an epoch, of the watch or of a grant; nothing else changes its number. */
#define FOLD_EPOCH(l, who, how)                                                                    \
    l.origin = (how);                                                                              \
    l.known = 1;                                                                                   \
    l.primary = (who);                                                                             \
    l.grant = GRANT_NONE;                                                                          \
    l.holder = NOBODY;                                                                             \
    l.requests = 0
/* A grant, after its epoch if it begins one. */
#define FOLD_GRANT(l, who)                                                                         \
    l.grant = GRANT_UNSETTLED;                                                                     \
    l.holder = (who);                                                                              \
    l.requests = l.requests + 1
/* Nothing left for a grant of this epoch. */
#define FOLD_UNFINISHED(l) l.requests = l.requests - 1
/* The newest grant of this epoch was settled, by a proof: a receipt alone changes nothing. */
#define FOLD_SETTLED(l) l.grant = GRANT_SETTLED
