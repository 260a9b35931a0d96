/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_survey.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/target.h"
#include "libescrow/json.h"
#include "libescrow/log.h"
#include "policy/evidence.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ASK_MS 5000
/* So many databases a second are looked at, those of all instances together: what an instance has
 * to do for this does not grow with its databases, the time until each has had its turn does. */
#define LOOKS_MAX 16
/* The watch asks every second: what was said longer ago is not of now. */
#define FRESH_MS 3000
/* After a promotion the prober is the agent's: its release waits for what the prober says. */
#define SETTLING_MS 10000
/* So often the same no before it is believed. */
#define NO_TIMES 2
#define AGAIN_MS 1000
/* A replica that lists something else each time does not fill the log. */
#define TELL_MS 60000

/* Of one database of a group; members of its first one only. Times by CLOCK_BOOTTIME. */
struct surveyed {
    struct survey *survey;
    struct target target;
    struct act_subject subject;
    char primary[POLICY_NAME_MAX + 1]; /* of whom all this is */
    uint64_t epoch;
    int64_t next_ms;
    struct {
        bool has_opened; /* in this epoch */
        bool is_closed;  /* and it was recorded */
        unsigned noes;   /* in a row */
        int64_t no_ms;   /* the last */
        int32_t sql_error;
        bool is_mute; /* and it was said that the question fails */
        uint64_t question;
    } key;
    struct {
        uint64_t question;
        json_t *told; /* the difference that was recorded last; NULL: none is there */
        int64_t told_ms;
        bool is_mute;
    } members;
};

struct survey {
    struct keeper *keeper;
    size_t count;
    struct surveyed *items;
    size_t next; /* whose turn it is */
};

static void forget_key(struct surveyed *surveyed)
{
    probers_forget(surveyed->survey->keeper->probers, surveyed->key.question);
    memset(&surveyed->key, 0, sizeof(surveyed->key));
}

static void forget_members(struct surveyed *surveyed)
{
    probers_forget(surveyed->survey->keeper->probers, surveyed->members.question);
    surveyed->members.question = 0;
    surveyed->members.is_mute = false;
}

/* False: it could not be queued. */
static bool record(const struct surveyed *surveyed, enum reason reason, json_t *detail)
{
    struct keeper *keeper = surveyed->survey->keeper;
    struct audit_record record;

    keeper_record(keeper, AUDIT_ALERT, &record);
    record.group = surveyed->subject.group;
    record.database = reason == REASON_MASTER_KEY_CLOSED ? surveyed->subject.database : NULL;
    record.replica = surveyed->primary;
    record.epoch = surveyed->epoch;
    record.reason = reason_code(reason);
    record.detail = detail;
    return detail && keeper_append(keeper, &record, NULL, NULL) == ESCROW_OK;
}

/* Only changes are said. why: NULL, the question was answered. */
static void tell(const struct surveyed *surveyed, const char *what, const char *why, bool *is_mute)
{
    if (why && !*is_mute)
        log_warning("survey: %s cannot be asked %s (%s/%s): %s; asked again every %d s",
                    surveyed->primary, what, surveyed->subject.group, surveyed->subject.database,
                    why, ASK_MS / 1000);
    else if (!why && *is_mute)
        log_notice("survey: %s can be asked %s again (%s/%s)", surveyed->primary, what,
                   surveyed->subject.group, surveyed->subject.database);
    *is_mute = why != NULL;
}

/* ---- master keys ---- */

/* NULL: it was answered. */
static const char *why_not_opens(const struct prober_answer *answer)
{
    if (!answer->opens || answer->opens->opens == PROBE_OPENS_UNKNOWN)
        return "no answer";
    return answer->opens->opens == PROBE_OPENS_NO_CERTIFICATE
               ? "there is no certificate escrowd_probe, or no right on it: run the script of "
                 "escrowctl sql-grants"
               : NULL;
}

static void on_opens(const struct prober_answer *answer, void *argument)
{
    struct surveyed *surveyed = argument;
    int64_t now_ms = clock_boot_ms();

    surveyed->key.question = 0;
    tell(surveyed, "whether the master key opens", why_not_opens(answer), &surveyed->key.is_mute);
    if (why_not_opens(answer)) {
        surveyed->key.noes = 0;
        return;
    }
    if (answer->opens->opens == PROBE_OPENS_NO) {
        surveyed->key.noes++;
        surveyed->key.no_ms = now_ms;
        surveyed->key.sql_error = answer->opens->sql_error;
        if (surveyed->key.noes < NO_TIMES)
            surveyed->next_ms = now_ms + AGAIN_MS;
        return;
    }
    if (surveyed->key.is_closed)
        log_notice("survey: %s: the master key of %s opens by itself again", surveyed->primary,
                   surveyed->subject.database);
    surveyed->key.has_opened = true;
    surveyed->key.is_closed = false;
    surveyed->key.noes = 0;
}

/* It would have to be a restart that makes this master key open again: no release is due. */
static bool should_open(const struct policy_ledger *ledger)
{
    return ledger->grant.state == POLICY_GRANT_SETTLED ||
           (ledger->grant.state == POLICY_GRANT_NONE &&
            (ledger->origin == POLICY_ORIGIN_BASELINE || ledger->origin == POLICY_ORIGIN_UNPROVEN));
}

/* The instance said no, and afterwards that it still is the primary. */
static void judge_key(struct surveyed *surveyed, const struct policy_ledger *ledger)
{
    const struct probe_state *said = watch_said(surveyed->survey->keeper->watch, &surveyed->subject,
                                                surveyed->primary, surveyed->key.no_ms);
    CLEANUP(json_free_p) json_t *detail = NULL;

    if (surveyed->key.is_closed || surveyed->key.noes < NO_TIMES || !said ||
        said->role != PROBE_ROLE_PRIMARY ||
        (!surveyed->key.has_opened && ledger->grant.state != POLICY_GRANT_SETTLED))
        return;
    detail = json_pack("{s:i}", "sql_error", (int)surveyed->key.sql_error);
    surveyed->key.is_closed = record(surveyed, REASON_MASTER_KEY_CLOSED, detail);
}

/* ---- members ---- */

static bool is_listed(const struct probe_members *members, const char *name)
{
    for (size_t i = 0; i < members->count; i++) {
        if (strcasecmp(members->names[i], name) == 0)
            return true;
    }
    return false;
}

static bool add_name(json_t *names, const char *name)
{
    return json_array_append_new(names, policy_text_to_json(name)) == 0;
}

/* {"added": [server name], "missing": [server name]}; NULL without memory. */
static json_t *compare(const struct policy_group *group, const struct probe_members *members)
{
    CLEANUP(json_free_p) json_t *added = json_array();
    CLEANUP(json_free_p) json_t *missing = json_array();

    for (size_t i = 0; i < members->count; i++) {
        if (!policy_find_server(group, members->names[i]) && !add_name(added, members->names[i]))
            return NULL;
    }
    for (size_t i = 0; i < group->replica_count; i++) {
        if (!is_listed(members, group->replicas[i].server_name) &&
            !add_name(missing, group->replicas[i].server_name))
            return NULL;
    }
    return json_pack("{s:O, s:O}", "added", added, "missing", missing);
}

/* NULL: it was answered. */
static const char *why_not_members(const struct prober_answer *answer)
{
    if (!answer->members)
        return "no answer";
    return answer->members->outcome == PROBE_ANSWERED
               ? NULL
               : policy_outcome_word(answer->members->outcome);
}

static void on_members(const struct prober_answer *answer, void *argument)
{
    struct surveyed *surveyed = argument;
    CLEANUP(json_free_p) json_t *difference = NULL;
    int64_t now_ms = clock_boot_ms();

    surveyed->members.question = 0;
    tell(surveyed, "for the group's replicas", why_not_members(answer), &surveyed->members.is_mute);
    if (why_not_members(answer))
        return;
    difference = compare(surveyed->target.group, answer->members);
    if (!difference || json_equal(difference, surveyed->members.told))
        return;
    if (json_array_size(json_object_get(difference, "added")) == 0 &&
        json_array_size(json_object_get(difference, "missing")) == 0) {
        if (surveyed->members.told)
            log_notice("survey: %s has the replicas of the policy again", surveyed->subject.group);
        json_decref(TAKE(surveyed->members.told));
        return;
    }
    if ((surveyed->members.told && now_ms - surveyed->members.told_ms < TELL_MS) ||
        !record(surveyed, REASON_MEMBERSHIP_DIFFERS, difference))
        return;
    json_decref(surveyed->members.told);
    surveyed->members.told = TAKE(difference);
    surveyed->members.told_ms = now_ms;
}

/* ---- rounds ---- */

/* False: the prober has too much to do for the survey. */
static bool ask(struct surveyed *surveyed, enum ipc_probe_type type, prober_answer_fn on_answer,
                uint64_t *question)
{
    const struct keeper *keeper = surveyed->survey->keeper;
    struct prober_ask ask = {.instance = surveyed->primary,
                             .asker = "survey",
                             .type = type,
                             .on_answer = on_answer,
                             .argument = surveyed};
    enum escrow_err err;
    uint64_t id;

    if (*question)
        return true;
    err = target_number(keeper->policy, ask.instance, &surveyed->target, &ask.question.target);
    if (!err)
        err = probers_ask(keeper->probers, &ask, &id);
    if (!err)
        *question = id;
    return err != ESCROW_ERR_DENIED;
}

/* What is known is of one primary, in one epoch. */
static void turn_to(struct surveyed *surveyed, const struct policy_ledger *ledger)
{
    if (surveyed->epoch == ledger->epoch && strcmp(surveyed->primary, ledger->primary) == 0)
        return;
    forget_key(surveyed);
    forget_members(surveyed);
    memcpy(surveyed->primary, ledger->primary, sizeof(surveyed->primary));
    surveyed->epoch = ledger->epoch;
}

/* The primary of the ledger, if it says so itself and serves the database; else NULL. */
static const struct probe_state *primary_now(const struct surveyed *surveyed, int64_t now_ms)
{
    const struct probe_state *said = watch_said(surveyed->survey->keeper->watch, &surveyed->subject,
                                                surveyed->primary, now_ms - FRESH_MS);

    return said && said->role == PROBE_ROLE_PRIMARY &&
                   said->database_state == PROBE_DATABASE_ONLINE && said->is_read_write
               ? said
               : NULL;
}

/* Without quorum a replica lists itself alone. */
static bool may_list(const struct surveyed *surveyed, const struct probe_state *said)
{
    return surveyed->target.database == surveyed->target.group->databases[0] &&
           (said->cluster_type != PROBE_CLUSTER_WSFC || said->has_quorum_row);
}

/* False: it cannot be asked about now, though it is its turn. */
static bool look(struct surveyed *surveyed, int64_t now_ms, bool has_turn)
{
    const struct keeper *keeper = surveyed->survey->keeper;
    const struct probe_state *said;
    struct policy_ledger ledger;

    if (ledger_policy(keeper->ledger, &surveyed->subject, clock_wall_ms(), &ledger) ||
        !ledger.has_record)
        return true;
    turn_to(surveyed, &ledger);
    said = primary_now(surveyed, now_ms);
    if (!said || (!should_open(&ledger) && ledger.epoch_age_ms < SETTLING_MS))
        return true;
    if (should_open(&ledger))
        judge_key(surveyed, &ledger);
    else
        forget_key(surveyed);
    if (!has_turn)
        return true;
    if (should_open(&ledger) &&
        !ask(surveyed, IPC_PROBE_ASK_OPENS, on_opens, &surveyed->key.question))
        return false;
    if (may_list(surveyed, said) &&
        !ask(surveyed, IPC_PROBE_ASK_MEMBERS, on_members, &surveyed->members.question))
        return false;
    surveyed->next_ms = now_ms + ASK_MS;
    return true;
}

/* Something is said of it, or will be. */
static bool is_open(const struct surveyed *surveyed)
{
    return surveyed->key.question || surveyed->members.question || surveyed->key.noes ||
           surveyed->key.is_closed;
}

/*
 * One after the other, from where the last tick ended: what is due again waits until all others had
 * their turn. Whoever cannot have it, for what one instance has to do, is the first of the next.
 */
void survey_tick(struct survey *survey)
{
    const struct keeper *keeper = survey->keeper;
    int64_t now_ms = clock_boot_ms();
    size_t begin = survey->next, looks = 0;
    bool is_denied = false;

    if (keeper->is_stopping || keeper_lacks(keeper, KEEPER_NEEDS_LOG))
        return;
    for (size_t i = 0; i < survey->count; i++) {
        size_t index = (begin + i) % survey->count;
        struct surveyed *surveyed = &survey->items[index];
        bool has_turn = now_ms >= surveyed->next_ms && looks < LOOKS_MAX, had_turn = false;

        if (has_turn || is_open(surveyed))
            had_turn = look(surveyed, now_ms, has_turn) && has_turn;
        looks += had_turn;
        if (has_turn && !is_denied)
            survey->next = had_turn ? (index + 1) % survey->count : index;
        is_denied |= has_turn && !had_turn;
    }
}

void survey_check(const struct survey *survey, struct check *check)
{
    size_t closed = 0, different = 0;

    for (size_t i = 0; survey && i < survey->count; i++) {
        closed += survey->items[i].key.is_closed;
        different += survey->items[i].members.told != NULL;
    }
    if (closed)
        check_set(check, CHECK_WARN, REASON_MASTER_KEY_CLOSED, "%zu databases", closed);
    else if (different)
        check_set(check, CHECK_WARN, REASON_MEMBERSHIP_DIFFERS, "%zu groups", different);
    else
        check_set(check, CHECK_OK, REASON_NONE, "as they should be, as far as is known");
}

/* Whether the primary's master key opens by itself; null: unknown, or a release is due. */
static json_t *key_json(const struct surveyed *surveyed)
{
    if (surveyed->key.is_closed)
        return json_string("closed");
    return surveyed->key.has_opened && surveyed->key.noes == 0 ? json_string("open") : json_null();
}

/* Of a group, which all its databases share; null: no difference is known. */
static json_t *membership_json(const struct survey *survey, const char *group)
{
    for (size_t i = 0; i < survey->count; i++) {
        const struct surveyed *surveyed = &survey->items[i];

        if (surveyed->members.told && strcmp(surveyed->subject.group, group) == 0)
            return json_incref(surveyed->members.told);
    }
    return json_null();
}

bool survey_describe(const struct survey *survey, json_t *groups)
{
    for (size_t i = 0; i < survey->count; i++) {
        const struct surveyed *surveyed = &survey->items[i];
        json_t *entry = json_array_get(groups, i);

        if (json_object_set_new(entry, "master_key", key_json(surveyed)) ||
            json_object_set_new(entry, "membership",
                                membership_json(survey, surveyed->subject.group)))
            return false;
    }
    return true;
}

static void add(struct survey *survey, const struct policy_group *group, const char *database)
{
    struct surveyed *surveyed = &survey->items[survey->count++];

    surveyed->survey = survey;
    surveyed->target = (struct target){group, database};
    memcpy(surveyed->subject.group, group->name, strlen(group->name) + 1);
    memcpy(surveyed->subject.database, database, strlen(database) + 1);
}

enum escrow_err survey_new(struct keeper *keeper, struct survey **ret_survey)
{
    CLEANUP(cleanup_free) struct survey *survey = calloc(1, sizeof(*survey));
    const struct policy_group *groups;
    size_t group_count = policy_groups(keeper->policy, &groups), most = 0;

    if (!survey)
        return ESCROW_ERR_NO_MEMORY;
    survey->keeper = keeper;
    for (size_t i = 0; i < group_count; i++)
        most += groups[i].database_count;
    survey->items = calloc(most ? most : 1, sizeof(*survey->items));
    if (!survey->items)
        return ESCROW_ERR_NO_MEMORY;
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].database_count; j++)
            add(survey, &groups[i], groups[i].databases[j]);
    }
    *ret_survey = TAKE(survey);
    return ESCROW_OK;
}

void survey_free(struct survey *survey)
{
    for (size_t i = 0; i < survey->count; i++) {
        forget_key(&survey->items[i]);
        forget_members(&survey->items[i]);
        json_decref(survey->items[i].members.told);
    }
    free(survey->items);
    free(survey);
}
