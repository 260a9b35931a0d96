/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_warm.h"

#include "escrowd/keeper_approvals.h"
#include "escrowd/keeper_state.h"
#include "escrowd/store_secrets.h"
#include "escrowd/store_trust.h"
#include "libescrow/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beside a host approval of each group. */
#define ACT_KEYS_MAX 3072
_Static_assert(ACT_KEYS_MAX + POLICY_GROUPS_MAX <= APPROVALS_HELD, "what is verified is held");
/* So often the TPM may be lost with one item. */
#define LOSSES_MAX 2

struct warm_object {
    const char *database; /* the policy's */
    bool is_due;
    unsigned losses;     /* in a row */
    struct tpm_name bad; /* was refused */
};

struct warm_group {
    const struct policy_group *group;
    bool is_due;           /* its approvals */
    struct tpm_name after; /* act keys up to this one are done */
    unsigned losses;       /* in a row */
    struct warm_object *objects;
    size_t object_count;
};

struct warm {
    struct keeper *keeper;
    struct event *next; /* one item, in a turn of the loop of its own */
    struct warm_group *groups;
    size_t group_count;
    struct warm_object *objects; /* of all groups */
    size_t object_count;

    bool is_busy;               /* the thread has an item: */
    struct warm_group *group;   /* it is of this one, */
    struct warm_object *object; /* and this, or NULL: approvals */
    struct tpm_name name;       /* of the object */

    uint64_t beginnings; /* of the TPM, whose objects these are */
    size_t act_keys;     /* that were looked at since approvals were due */
    size_t loaded, verified;
};

/* ---- what is due ---- */

static bool is_due(const struct warm_group *group)
{
    bool is_due = group->is_due;

    for (size_t i = 0; !is_due && i < group->object_count; i++)
        is_due = group->objects[i].is_due;
    return is_due;
}

static struct warm_group *next_group(struct warm *warm)
{
    for (size_t i = 0; i < warm->group_count; i++) {
        if (is_due(&warm->groups[i]))
            return &warm->groups[i];
    }
    return NULL;
}

size_t warm_left(const struct warm *warm)
{
    size_t left = warm->is_busy;

    for (size_t i = 0; i < warm->group_count; i++)
        left += warm->groups[i].is_due;
    for (size_t i = 0; i < warm->object_count; i++)
        left += warm->objects[i].is_due;
    return left;
}

bool warm_is_busy(const struct warm *warm)
{
    return warm && warm->is_busy;
}

static void mark_objects(struct warm *warm)
{
    for (size_t i = 0; i < warm->object_count; i++)
        warm->objects[i].is_due = true;
}

static void mark_approvals(struct warm *warm)
{
    warm->act_keys = 0;
    for (size_t i = 0; i < warm->group_count; i++) {
        warm->groups[i].is_due = true;
        warm->groups[i].losses = 0;
        memset(&warm->groups[i].after, 0, sizeof(warm->groups[i].after));
    }
}

/* Also where nobody saw that the TPM was gone. */
static void note_beginnings(struct warm *warm)
{
    struct tpm_numbers numbers;

    tpm_thread_numbers(warm->keeper->tpm_use.thread, &numbers);
    if (numbers.beginnings != warm->beginnings)
        mark_objects(warm);
    warm->beginnings = numbers.beginnings;
}

/* ---- when ---- */

static bool may_work(const struct keeper *keeper)
{
    struct admission_numbers releases;

    admission_numbers(keeper->admission, &releases);
    return !keeper->is_stopping && keeper->is_tpm_well && !keeper->is_store_behind &&
           ledger_roster(keeper->ledger) && releases.waiting == 0 && keeper_tpm_is_idle(keeper);
}

void warm_go(struct warm *warm)
{
    static const struct timeval now = {0, 0};

    note_beginnings(warm);
    /* Without it the next second's goes on. */
    if (!warm->is_busy && next_group(warm) && may_work(warm->keeper))
        (void)!event_add(warm->next, &now);
}

void warm_approvals(struct warm *warm)
{
    mark_approvals(warm);
    warm_go(warm);
}

void warm_objects(struct warm *warm)
{
    mark_objects(warm);
    warm_go(warm);
}

void warm_object(struct warm *warm, const struct act_subject *subject)
{
    for (size_t i = 0; i < warm->group_count; i++) {
        struct warm_group *group = &warm->groups[i];

        if (strcmp(group->group->name, subject->group) != 0)
            continue;
        for (size_t j = 0; j < group->object_count; j++)
            group->objects[j].is_due |= strcmp(group->objects[j].database, subject->database) == 0;
    }
    warm_go(warm);
}

/* ---- an item is done ---- */

static void say_if_done(struct warm *warm)
{
    if (warm->loaded + warm->verified == 0 || warm_left(warm) > 0)
        return;
    log_notice("ready for releases: %zu objects and the approvals of %zu act keys were made ready",
               warm->loaded, warm->verified);
    warm->loaded = warm->verified = 0;
}

static void leave_object(struct warm *warm)
{
    warm->object->bad = warm->name;
}

/* It is the turn of the same once more when the TPM is back. */
static void was_lost(struct warm *warm)
{
    unsigned *losses = warm->object ? &warm->object->losses : &warm->group->losses;
    bool is_enough = ++*losses >= LOSSES_MAX;

    if (is_enough)
        *losses = 0;
    if (warm->object && is_enough)
        leave_object(warm);
    else if (warm->object)
        warm->object->is_due = true;
    else if (!is_enough)
        memset(&warm->group->after, 0, sizeof(warm->group->after));
    keeper_tpm_doubt(warm->keeper);
}

static void was_refused(struct warm *warm, enum escrow_err err)
{
    const char *group = warm->group->group->name;
    const char *why = reason_text(keeper_tpm_reason(err));

    if (warm->object) {
        leave_object(warm);
        log_error(
            "the object for %s of group %s does not load, and its release will be refused: %s",
            warm->object->database, group, why);
        return;
    }
    /* It is every act key's. */
    if (err == ESCROW_ERR_DENIED)
        warm->group->is_due = false;
    log_error("an approval of group %s does not hold, and a release will be refused: %s", group,
              why);
}

static void was_done(struct warm *warm)
{
    if (warm->object) {
        warm->object->losses = 0;
        warm->loaded++;
    } else {
        warm->group->losses = 0;
        warm->verified++;
    }
}

static void on_done(struct tpm_job *done)
{
    struct warm *warm = done->owner;
    CLEANUP(cleanup_free) struct tpm_release_job *job = (struct tpm_release_job *)done;

    warm->is_busy = false;
    if (!warm->object)
        keeper_approvals_keep(warm->keeper, job);
    if (warm->keeper->is_stopping) {
        event_active(warm->keeper->flush, EV_TIMEOUT, 0);
        return;
    }
    if (!job->job.err)
        was_done(warm);
    else if (job->job.err == ESCROW_ERR_UNAVAILABLE)
        was_lost(warm);
    else
        was_refused(warm, job->job.err);
    say_if_done(warm);
    warm_go(warm);
}

/* ---- the next item ---- */

static void give(struct warm *warm, struct tpm_release_job *job, tpm_job_work_fn work)
{
    job->job.work = work;
    job->job.done = on_done;
    job->job.owner = warm;
    warm->is_busy = true;
    tpm_thread_do(warm->keeper->tpm_use.thread, &job->job);
}

static bool is_agent_of(const struct roster_key *key, const struct policy_group *group)
{
    bool is_agent = false;

    if (!key || key->role != ROSTER_AGENT || !roster_key_covers(key, group->name))
        return false;
    for (size_t i = 0; !is_agent && i < group->replica_count; i++)
        is_agent = roster_key_has_instance(key, group->replicas[i].instance);
    return is_agent;
}

static bool are_verified(const struct tpm_release_job *job)
{
    bool are_verified = job->node.ticket_len > 0;

    for (size_t i = 0; are_verified && i < job->host_count; i++)
        are_verified = job->hosts[i].ticket_len > 0;
    return are_verified;
}

/* The approvals for the next act key of the group, unless they are verified. */
static void verify_next(struct warm *warm, struct warm_group *group)
{
    struct keeper *keeper = warm->keeper;
    CLEANUP(cleanup_free) struct tpm_release_job *job = calloc(1, sizeof(*job));
    const char *name = group->group->name;
    struct tpm_name act_key;

    if (!job)
        return;
    group->is_due = warm->act_keys++ < ACT_KEYS_MAX &&
                    store_next_node(keeper->store, name, &keeper->member->names.counter,
                                    &group->after, &act_key) == ESCROW_OK;
    if (!group->is_due)
        return;
    group->after = act_key;
    if (!is_agent_of(roster_find_key(ledger_roster(keeper->ledger), &act_key), group->group) ||
        keeper_approvals(keeper, name, &act_key, job) || are_verified(job))
        return;
    job->authority = keeper->authority_point;
    snprintf(job->group, sizeof(job->group), "%s", name);
    warm->group = group;
    warm->object = NULL;
    give(warm, TAKE(job), tpm_approvals_job);
}

/* The version that an agent asks for first; false: there is none, or nothing to load of it. */
static bool find_object(const struct warm *warm, const struct warm_group *group,
                        const struct warm_object *object, struct tpm_release_object *ret_wanted)
{
    struct act_subject subject;
    struct store_version version;
    size_t count;

    snprintf(subject.group, sizeof(subject.group), "%s", group->group->name);
    snprintf(subject.database, sizeof(subject.database), "%s", object->database);
    if (store_live_versions(warm->keeper->store, &subject, &version, 1, &count) || count == 0 ||
        version.private_area.len == 0 || tpm_name_equal(&version.object, &object->bad))
        return false;
    ret_wanted->private_area = version.private_area;
    return wrap_object_parse(version.public_area, version.public_len, &ret_wanted->object) ==
           ESCROW_OK;
}

static void load_next(struct warm *warm, struct warm_group *group)
{
    CLEANUP(cleanup_free) struct tpm_release_job *job = calloc(1, sizeof(*job));
    struct warm_object *object = group->objects;

    if (!job)
        return;
    while (!object->is_due)
        object++;
    object->is_due = false;
    if (!find_object(warm, group, object, &job->objects[0]))
        return;
    job->object_count = 1;
    warm->group = group;
    warm->object = object;
    warm->name = job->objects[0].object.name;
    give(warm, TAKE(job), tpm_prepare_job);
}

static void on_next(evutil_socket_t fd, short what, void *argument)
{
    struct warm *warm = argument;
    struct warm_group *group = next_group(warm);

    (void)fd;
    (void)what;
    /* Somebody may have come since. */
    if (!group || !may_work(warm->keeper))
        return;
    if (group->is_due)
        verify_next(warm, group);
    else
        load_next(warm, group);
    say_if_done(warm);
    warm_go(warm);
}

/* ---- life ---- */

/* So many objects as may be, those of the first groups. */
static size_t count_objects(const struct policy_group *groups, size_t count)
{
    size_t objects = 0;

    for (size_t i = 0; i < count; i++)
        objects += groups[i].database_count;
    return objects < TPM_PREPARED_MAX ? objects : TPM_PREPARED_MAX;
}

static void fill(struct warm *warm, const struct policy_group *groups)
{
    size_t used = 0;

    for (size_t i = 0; i < warm->group_count; i++) {
        struct warm_group *group = &warm->groups[i];

        group->group = &groups[i];
        group->objects = warm->objects + used;
        for (size_t j = 0; j < groups[i].database_count && used < warm->object_count; j++, used++)
            group->objects[group->object_count++].database = groups[i].databases[j];
    }
}

enum escrow_err warm_new(struct keeper *keeper, struct warm **ret_warm)
{
    CLEANUP(warm_free_p) struct warm *warm = calloc(1, sizeof(*warm));
    const struct policy_group *groups;

    if (!warm)
        return ESCROW_ERR_NO_MEMORY;
    warm->keeper = keeper;
    warm->group_count = policy_groups(keeper->policy, &groups);
    warm->object_count = count_objects(groups, warm->group_count);
    warm->groups = calloc(warm->group_count, sizeof(*warm->groups));
    warm->objects = calloc(warm->object_count, sizeof(*warm->objects));
    warm->next = evtimer_new(keeper->base, on_next, warm);
    if (!warm->groups || !warm->objects || !warm->next)
        return ESCROW_ERR_NO_MEMORY;
    fill(warm, groups);
    mark_approvals(warm);
    mark_objects(warm);
    *ret_warm = TAKE(warm);
    return ESCROW_OK;
}

void warm_free(struct warm *warm)
{
    if (!warm)
        return;
    if (warm->next)
        event_free(warm->next);
    free(warm->objects);
    free(warm->groups);
    free(warm);
}
