/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failovers of one group of three replicas, the agents on them, escrowd's watch and its keeper, an
 * admin who rebaselines, with crashes of keeper and agents anywhere, and at most one replica that lies whenever it is
 * asked. Replicas are asked one after the other while failovers go on, so no question sees one
 * moment. What a decision and the ledger do is of rules.h.
 *
 * Checked always:
 *   one grantee    no two replicas are granted in one epoch
 *   true primary   a replica that is granted was primary at some time since it was asked about
 *   no thief       nobody is granted who has no session on the instance, unless that one lies
 *   recorded       what an agent holds is in the ledger
 * Checked with -DBECOME: an epoch after the first is of a replica that was primary since the one
 * before it began: nobody becomes it by what was said before.
 * Checked with -DLIVE: a promotion that stays is served or waits for the admins.
 * With -DECHO the group has rule 7, and the admins approve nothing.
 */
#include "rules.h"

#define N 3
#ifndef NEEDED
#define NEEDED 2
#endif

#ifndef SLOTS
#define SLOTS 2
#endif

#ifndef FAILOVERS
#define FAILOVERS 2
#endif
#ifndef RETRIES
#define RETRIES 1
#endif

/* Silence, crashes and failures: any number, but for what shall be served in the end. */
#ifdef LIVE
/* Nobody needs to approve for what waits for the admins. */
#define IS_APPROVABLE false
#define IS_LYING_AGENT false
#define IS_TROUBLE troubles < 2
#define TROUBLE troubles++
#define OPEN(is) is_open = is
#define PEND(who) pending = who
#else
#define IS_LYING_AGENT true
#ifdef ECHO
/* What the rule itself holds. */
#define IS_APPROVABLE false
#else
/* Once more beyond the retries: else the count has no end. */
#define IS_APPROVABLE (ledger.requests <= RETRIES + 1)
#endif
#define IS_TROUBLE true
#define TROUBLE skip
#define OPEN(is) skip
#define PEND(who) skip
#endif

mtype = { AGENT, THIEF, WATCH, ADMIN };
mtype = { IDLE, ASKING, RECORDED, HELD, OPENED, CLAIMED };

typedef Ledger {
    bit known;
    byte primary;
    byte origin;
    byte grant;
    byte holder;
    byte requests
};

/* A question about one candidate, to all replicas; then the grant that came of it. */
typedef Question {
    mtype state = IDLE;
    mtype actor = AGENT;
    byte who = NOBODY;
    byte seen;   /* a bit for each replica that was primary while the replicas were asked */
    bool is_past /* the grant is of an epoch before the ledger's, or was asked for in one */
};

/* What the replicas say to one question: alive in one step only. */
typedef Answers {
    byte names;
    bit says;
    bit rival;
    bit echoed
};

Ledger ledger;
Question questions[SLOTS];
Answers answers;
byte primary;       /* in truth */
byte liar = NOBODY; /* chosen once */
bool is_open;       /* the master key, on the primary */
byte pending = NOBODY;
byte grantee = NOBODY; /* of the epoch */
#ifdef BECOME
byte since = 1; /* a bit for each replica that was primary since the epoch began */
#endif
byte failovers, troubles;

inline forget(slot)
{
    questions[slot].state = IDLE;
    questions[slot].actor = AGENT;
    questions[slot].who = NOBODY;
    questions[slot].seen = 0;
    questions[slot].is_past = 0
}

inline ask(slot, candidate, by)
{
    questions[slot].state = ASKING;
    questions[slot].actor = by;
    questions[slot].who = candidate;
    questions[slot].seen = 1 << primary;
    questions[slot].is_past = 0
}

#define Q questions[me]
#define WAS_PRIMARY(slot, replica) (questions[slot].seen & (1 << (replica)))
/* Rule 7 guards what is released; watch and admin go by the witnesses alone, many or few. */
#ifdef ECHO
#define IS_TRUE_RECORD true
#else
#define IS_TRUE_RECORD WAS_PRIMARY(me, Q.who)
#endif
/* A liar finds any session. */
#define HAS_SESSION(slot) (questions[slot].actor == AGENT || questions[slot].who == liar)

#ifdef ECHO
#define ECHOED answers.echoed
/*
 * What the agent committed on the candidate has come to a secondary, if the candidate was primary
 * since the question began, which is with the challenge here. It may also be late, or not be
 * readable there; and a liar says what it likes.
 */
inline hear_echo(slot, replica, is_primary)
{
    if
    :: replica != questions[slot].who && !(is_primary) &&
       (replica == liar || WAS_PRIMARY(slot, questions[slot].who)) ->
        answers.echoed = 1
    :: skip
    fi
}
#else
#define ECHOED true
#define hear_echo(slot, replica, is_primary) skip
#endif

/* A replica says PRIMARY (or not) and names the candidate (or not). */
inline hear(slot, replica, is_primary, is_naming)
{
    hear_echo(slot, replica, is_primary);
    if
    :: replica == questions[slot].who -> answers.says = is_primary
    :: replica != questions[slot].who -> answers.rival = (answers.rival || is_primary)
    fi;
    answers.names = answers.names + is_naming
}

/* It tells of the moment when it was asked: of one of the primaries since the question began. */
inline hear_honest(slot, replica, named)
{
    hear(slot, replica, (replica == named), (questions[slot].who == named))
}

inline hear_one(slot, replica)
{
    if
    :: replica == liar -> hear(slot, replica, 0, 0)
    :: replica == liar -> hear(slot, replica, 0, 1)
    :: replica == liar -> hear(slot, replica, 1, 0)
    :: replica == liar -> hear(slot, replica, 1, 1)
    :: replica != liar && WAS_PRIMARY(slot, 0) -> hear_honest(slot, replica, 0)
    :: replica != liar && WAS_PRIMARY(slot, 1) -> hear_honest(slot, replica, 1)
    :: replica != liar && WAS_PRIMARY(slot, 2) -> hear_honest(slot, replica, 2)
    :: replica != liar && IS_TROUBLE -> TROUBLE
    fi
}

inline hear_all(slot)
{
    hear_one(slot, 0);
    hear_one(slot, 1);
    hear_one(slot, 2)
}

inline forget_answers()
{
    answers.names = 0;
    answers.says = 0;
    answers.rival = 0;
    answers.echoed = 0
}

#ifdef BECOME
#define HAS_BECOME(replica)                                                                        \
    assert(!ledger.known || (since & (1 << (replica))));                                           \
    since = 1 << primary
#define NOTE_PRIMARY(replica) since = since | (1 << (replica))
#else
#define HAS_BECOME(replica) skip
#define NOTE_PRIMARY(replica) skip
#endif

#define IS_GRANTED(slot)                                                                           \
    (questions[slot].state == RECORDED || questions[slot].state == HELD ||                         \
     questions[slot].state == OPENED || questions[slot].state == CLAIMED)

inline leave_behind(slot)
{
    questions[slot].is_past = (IS_GRANTED(slot) || questions[slot].state == ASKING)
}

inline begin_epoch(replica, how)
{
    HAS_BECOME(replica);
    FOLD_EPOCH(ledger, replica, how);
    grantee = NOBODY;
    leave_behind(0);
    leave_behind(1)
#if SLOTS > 2
    ;
    leave_behind(2)
#endif
}

inline give(me)
{
    assert(WAS_PRIMARY(me, Q.who));
    if
    :: IS_MINTING(ledger, Q.who) ->
        begin_epoch(Q.who, ORIGIN_OF_GRANT(ledger, Q.who))
    :: else -> skip
    fi;
    FOLD_GRANT(ledger, Q.who);
    assert(grantee == NOBODY || grantee == Q.who);
    assert(HAS_SESSION(me));
    grantee = Q.who;
    Q.state = RECORDED;
    Q.seen = 0;
    Q.is_past = 0
}

#define IS_OF_NOW (!Q.is_past || !IS_MINTING(ledger, Q.who))

inline decide(me)
{
    if
    :: IS_DENIED(ledger, Q.who, answers.says, HAS_SESSION(me), answers.names, NEEDED) -> forget(me)
    :: else ->
        if
        /* What was said before an epoch makes no other one after it. */
        :: Q.is_past && IS_MINTING(ledger, Q.who) -> ask(me, Q.who, Q.actor)
        :: IS_OF_NOW && IS_FOR_ADMINS(ledger, Q.who, answers.rival, ECHOED, RETRIES) ->
            PEND(Q.who);
            forget(me)
        :: IS_OF_NOW && IS_FOR_ADMINS(ledger, Q.who, answers.rival, ECHOED, RETRIES) &&
           IS_APPROVABLE -> give(me)
        :: else -> give(me)
        fi
    fi
}

/* The record is durable: the TPM duplicates, or fails. */
inline release(me)
{
    if
    :: !Q.is_past ->
        assert(ledger.grant != GRANT_NONE && ledger.holder == Q.who);
        Q.state = HELD
    /* Another epoch has begun since the decision. */
    :: Q.is_past -> ask(me, Q.who, Q.actor)
    :: IS_TROUBLE ->
        TROUBLE;
        if
        :: !Q.is_past && ledger.grant == GRANT_UNSETTLED -> FOLD_UNFINISHED(ledger)
        :: else -> skip
        fi;
        forget(me)
    /* The keeper ends: what was not released is not. */
    :: IS_TROUBLE -> TROUBLE; forget(me)
    fi
}

/* The agent opens the master key where its instance still is primary, or dies before; or it only
 * says that it did. */
inline open_key(me)
{
    if
    :: Q.actor == AGENT && Q.who == primary -> OPEN(true); Q.state = OPENED
    :: IS_LYING_AGENT -> Q.state = CLAIMED
    :: Q.actor == THIEF || Q.who != primary -> forget(me)
    :: IS_TROUBLE -> TROUBLE; forget(me)
    fi
}

/* The receipt is there: the replica itself is asked, of which a liar says what it likes. */
inline settle(me)
{
    if
    :: !Q.is_past && (Q.state == OPENED || Q.who == liar) -> FOLD_SETTLED(ledger)
    :: Q.is_past || Q.state == CLAIMED || IS_TROUBLE -> skip
    fi;
    forget(me)
}

inline observe(me)
{
    if
    :: !Q.is_past &&
       IS_OBSERVED(ledger, Q.who, answers.says, answers.names, NEEDED, answers.rival) ->
        assert(IS_TRUE_RECORD);
        if
        :: ledger.known -> begin_epoch(Q.who, ORIGIN_OBSERVED)
        :: else -> begin_epoch(Q.who, ORIGIN_BASELINE)
        fi
    :: else -> skip
    fi;
    forget(me)
}

/* An admin names a primary, rightly or not. */
inline rebaseline(me)
{
    if
    :: IS_REBASELINED(answers.says, answers.names, NEEDED, answers.rival) && Q.is_past ->
        ask(me, Q.who, Q.actor)
    :: IS_REBASELINED(answers.says, answers.names, NEEDED, answers.rival) && !Q.is_past ->
        assert(IS_TRUE_RECORD);
        begin_epoch(Q.who, ORIGIN_BASELINE);
        forget(me)
    :: else -> forget(me)
    fi
}

/* Any agent asks, also one whose instance is not primary; who stole its keys; watch and admin. */
inline ask_any(me)
{
    if
    :: ask(me, 0, AGENT)
    :: ask(me, 1, AGENT)
    :: ask(me, 2, AGENT)
    :: ask(me, 0, THIEF)
    :: ask(me, 1, THIEF)
    :: ask(me, 2, THIEF)
    :: ask(me, 0, WATCH)
    :: ask(me, 1, WATCH)
    :: ask(me, 2, WATCH)
    :: ask(me, 0, ADMIN)
    :: ask(me, 1, ADMIN)
    :: ask(me, 2, ADMIN)
    fi
}

/* What happens to one question; SLOTS of them at once. */
active [SLOTS] proctype Asking()
{
    byte me = _pid;

    do
#ifdef LIVE
    /* The agent of a primary whose key is closed asks again and again; so does the watch. */
    :: atomic { Q.state == IDLE && me == 0 && !is_open -> ask(me, primary, AGENT) }
    :: atomic { Q.state == IDLE && me == 1 -> ask(me, primary, WATCH) }
#else
    :: atomic { Q.state == IDLE -> ask_any(me) }
#endif
    :: atomic {
        Q.state == ASKING ->
        hear_all(me);
        if
        :: Q.actor == WATCH -> observe(me)
        :: Q.actor == ADMIN -> rebaseline(me)
        :: Q.actor != WATCH && Q.actor != ADMIN -> decide(me)
        fi;
        forget_answers()
    }
    :: atomic { Q.state == RECORDED -> release(me) }
    :: atomic { Q.state == HELD -> open_key(me) }
    :: atomic { Q.state == OPENED || Q.state == CLAIMED -> settle(me) }
    od
}

inline note(slot, replica)
{
    if
    :: questions[slot].state == ASKING ->
        questions[slot].seen = questions[slot].seen | (1 << replica)
    :: else -> skip
    fi
}

inline promote(replica)
{
    failovers++;
    primary = replica;
    NOTE_PRIMARY(replica);
    OPEN(false);
    PEND(NOBODY);
    note(0, replica);
    note(1, replica)
#if SLOTS > 2
    ;
    note(2, replica)
#endif
}

active proctype Cluster()
{
    if
    :: liar = 0
    :: liar = 1
    :: liar = 2
    :: skip
    fi;
    do
    :: atomic { failovers < FAILOVERS && primary != 0 -> promote(0) }
    :: atomic { failovers < FAILOVERS && primary != 1 -> promote(1) }
    :: atomic { failovers < FAILOVERS && primary != 2 -> promote(2) }
    :: failovers == FAILOVERS -> break
    od
}

#ifdef LIVE
#ifdef ALONE
#define WAITS_FOR_ADMINS false
#else
#define WAITS_FOR_ADMINS (pending == primary)
#endif
/* Whether a primary that lies is served is its own affair. */
ltl served { [] <> (failovers < FAILOVERS || is_open || WAITS_FOR_ADMINS || primary == liar) }
#endif
