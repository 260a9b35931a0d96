/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_settle.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/ledger_detail.h"
#include "escrowd/store_ledger.h"
#include "escrowd/target.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <stdlib.h>
#include <string.h>

/* Proofs at once; the others wait in the store. */
#define PROOFS_MAX 64
/* So often the same no, a second after the other: not a moment of a promotion. */
#define NO_TIMES 3
#define AGAIN_MS 1000
/* Without an answer it is unproven; a failover and a prober's restart take less. */
#define PROVE_MS 10000
/* What was unproven or disproved is asked again as long as the epoch lasts. */
#define LATER_MS 60000
/* A record that has not changed the ledger by then never came to the log. */
#define RECORD_MS 5000
/* A worker of the agent lives for 30 s; the rest is for an escrowd that was away. */
#define RECEIPT_MS ((int64_t)10 * 60 * 1000)

struct proof {
    struct settle *settle;
    bool is_used, is_listed; /* listed: the ledger still has it */
    struct store_grant grant;
    struct ledger_proof found;
    unsigned same;       /* how often its last answer came in a row */
    int64_t since_ms;    /* CLOCK_BOOTTIME, as all here: when it was taken up */
    int64_t next_ms;     /* when it is asked again */
    int64_t answered_ms; /* the last answer */
    int64_t recorded_ms; /* when a record was queued that ends it; 0: none is */
    uint64_t question;   /* 0: none is open */
};

struct settle {
    struct keeper *keeper;
    struct proof proofs[PROOFS_MAX];
};

static void forget_question(struct proof *proof)
{
    if (proof->question)
        probers_forget(proof->settle->keeper->probers, proof->question);
    proof->question = 0;
}

static void record(struct keeper *keeper, const struct store_grant *grant, enum reason reason,
                   const struct ledger_proof *found)
{
    CLEANUP(json_free_p) json_t *detail = ledger_proof_detail(found);
    struct audit_record record;

    keeper_record(keeper, AUDIT_SETTLE, &record);
    record.group = grant->subject.group;
    record.database = grant->subject.database;
    record.replica = grant->replica;
    record.purpose = act_purpose_word(grant->purpose);
    record.epoch = grant->epoch;
    record.order = grant->order[0] ? grant->order : NULL;
    record.grant = grant->sequence;
    record.reason = reason_code(reason);
    record.detail = detail;
    if (!detail || keeper_append(keeper, &record, NULL, NULL))
        log_warning("what became of grant %llu cannot be recorded now",
                    (unsigned long long)grant->sequence);
}

/* It stays in its place until the ledger has the record. */
static void end(struct proof *proof, enum reason reason)
{
    forget_question(proof);
    proof->recorded_ms = clock_boot_ms();
    record(proof->settle->keeper, &proof->grant, reason, &proof->found);
}

static void on_answer(const struct prober_answer *answer, void *argument)
{
    struct proof *proof = argument;
    enum probe_opens opens = answer->opens ? answer->opens->opens : PROBE_OPENS_UNKNOWN;

    proof->question = 0;
    proof->answered_ms = clock_boot_ms();
    proof->same = proof->found.is_told && proof->found.opens == opens ? proof->same + 1 : 1;
    proof->found.is_told = true;
    proof->found.opens = opens;
    proof->found.sql_error = answer->opens ? answer->opens->sql_error : 0;
    if (opens == PROBE_OPENS_YES)
        end(proof, REASON_GRANT_PROVED);
}

static void ask(struct proof *proof, int64_t now_ms)
{
    const struct keeper *keeper = proof->settle->keeper;
    const struct policy_group *group =
        policy_find_group(keeper->policy, proof->grant.subject.group);
    const struct target target = {group, proof->grant.subject.database};
    struct prober_ask ask = {.instance = proof->grant.replica,
                             .asker = "settle",
                             .type = IPC_PROBE_ASK_OPENS,
                             .on_answer = on_answer,
                             .argument = proof};
    uint64_t id;

    if (!group || target_number(keeper->policy, ask.instance, &target, &ask.question.target) ||
        probers_ask(keeper->probers, &ask, &id))
        return;
    proof->question = id;
    proof->found.asked++;
    proof->next_ms = now_ms + (proof->grant.is_judged ? LATER_MS : AGAIN_MS);
}

/* Whoever is primary by now has a grant of his own: of this one nothing can be said any more. */
static bool is_past(const struct proof *proof)
{
    struct store_group group = {0};

    return store_group(proof->settle->keeper->store, proof->grant.subject.group, &group) ==
               ESCROW_OK &&
           (group.epoch != proof->grant.epoch || strcmp(group.replica, proof->grant.replica) != 0);
}

/* What the replica has told the watch since its last answer; NULL: nothing yet. */
static const struct probe_state *said_since(const struct proof *proof)
{
    return watch_said(proof->settle->keeper->watch, &proof->grant.subject, proof->grant.replica,
                      proof->answered_ms);
}

/* A replica that is not primary any more says no as well: its word counts while it is. */
static bool is_of_primary(const struct proof *proof)
{
    const struct probe_state *said = said_since(proof);

    return said && said->role == PROBE_ROLE_PRIMARY;
}

static void advance(struct proof *proof)
{
    int64_t now_ms = clock_boot_ms();
    bool is_certain = proof->found.is_told && proof->same >= NO_TIMES;
    bool is_no = is_certain && proof->found.opens == PROBE_OPENS_NO;

    if (proof->recorded_ms)
        return;
    if (proof->grant.is_judged) {
        if (!proof->question && now_ms >= proof->next_ms)
            ask(proof, now_ms);
    } else if (is_past(proof)) {
        proof->found.is_told = false;
        end(proof, REASON_GRANT_UNPROVEN);
    } else if (is_no && is_of_primary(proof)) {
        end(proof, REASON_GRANT_DISPROVED);
    } else if (now_ms - proof->since_ms >= PROVE_MS ||
               (is_certain && proof->found.opens == PROBE_OPENS_NO_CERTIFICATE)) {
        end(proof, REASON_GRANT_UNPROVEN);
    } else if (is_no && !said_since(proof)) {
        /* The watch asks in step with this: one more no would always come after what it heard. */
        return;
    } else if (!proof->question && now_ms >= proof->next_ms) {
        ask(proof, now_ms);
    }
}

static void begin(struct settle *settle, struct proof *proof, const struct store_grant *grant)
{
    int64_t now_ms = clock_boot_ms();

    forget_question(proof);
    *proof = (struct proof){.settle = settle,
                            .is_used = true,
                            .is_listed = true,
                            .grant = *grant,
                            .found = {.receipt = grant->receipt},
                            .since_ms = now_ms,
                            .next_ms = now_ms + (grant->is_judged ? LATER_MS : 0)};
}

static struct proof *find_proof(struct settle *settle, uint64_t grant)
{
    struct proof *vacant = NULL;

    for (size_t i = 0; i < PROOFS_MAX; i++) {
        struct proof *proof = &settle->proofs[i];

        if (proof->is_used && proof->grant.sequence == grant)
            return proof;
        if (!proof->is_used && !vacant)
            vacant = proof;
    }
    return vacant;
}

static enum escrow_err on_receipted(const struct store_grant *grant, void *argument)
{
    struct settle *settle = argument;
    struct proof *proof = find_proof(settle, grant->sequence);

    if (!proof)
        return ESCROW_OK;
    if (!proof->is_used || proof->grant.receipt != grant->receipt ||
        proof->grant.is_judged != grant->is_judged ||
        (proof->recorded_ms && clock_boot_ms() - proof->recorded_ms >= RECORD_MS))
        begin(settle, proof, grant);
    proof->is_listed = true;
    return ESCROW_OK;
}

static enum escrow_err on_unreceipted(const struct store_grant *grant, void *argument)
{
    const struct settle *settle = argument;
    const struct ledger_proof none = {0};

    record(settle->keeper, grant, REASON_RECEIPT_MISSING, &none);
    return ESCROW_OK;
}

/* The ledger does not have them any more. */
static void leave(struct settle *settle)
{
    for (size_t i = 0; i < PROOFS_MAX; i++) {
        struct proof *proof = &settle->proofs[i];

        if (proof->is_used && !proof->is_listed) {
            forget_question(proof);
            proof->is_used = false;
        }
        proof->is_listed = false;
    }
}

static bool may_record(const struct keeper *keeper)
{
    return !keeper->is_stopping && !keeper_lacks(keeper, KEEPER_NEEDS_LOG);
}

void settle_look(struct settle *settle)
{
    struct keeper *keeper = settle->keeper;

    if (!may_record(keeper) ||
        store_list_receipted(keeper->store, PROOFS_MAX, on_receipted, settle))
        return;
    leave(settle);
    for (size_t i = 0; i < PROOFS_MAX; i++) {
        if (settle->proofs[i].is_used)
            advance(&settle->proofs[i]);
    }
}

void settle_tick(struct settle *settle)
{
    const struct keeper *keeper = settle->keeper;

    settle_look(settle);
    if (may_record(keeper) && store_list_unreceipted(keeper->store, clock_wall_ms() - RECEIPT_MS,
                                                     PROOFS_MAX, on_unreceipted, settle))
        log_warning("grants without a receipt cannot be looked for");
}

enum escrow_err settle_new(struct keeper *keeper, struct settle **ret_settle)
{
    struct settle *settle = calloc(1, sizeof(*settle));

    if (!settle)
        return ESCROW_ERR_NO_MEMORY;
    settle->keeper = keeper;
    *ret_settle = settle;
    return ESCROW_OK;
}

void settle_free(struct settle *settle)
{
    for (size_t i = 0; i < PROOFS_MAX; i++)
        forget_question(&settle->proofs[i]);
    free(settle);
}
