/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_metrics.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"
#include "escrowd/metric.h"
#include "escrowd/store_ledger.h"
#include "escrowd/store_requests.h"
#include "escrowd/store_secrets.h"

#include <string.h>

static const char *const outcomes[KEEPER_OUTCOMES] = {
    [KEEPER_GRANTED] = "granted",
    [KEEPER_DENIED] = "denied",
    [KEEPER_NEEDS_APPROVAL] = "needs_approval",
    [KEEPER_UNFINISHED] = "unfinished",
};

/* ---- records ---- */

static enum keeper_outcome outcome_of(const struct audit_record *record)
{
    const char *decision = record->decision ? record->decision : "";

    if (record->event == AUDIT_UNFINISHED)
        return KEEPER_UNFINISHED;
    if (strcmp(decision, policy_outcome_name(POLICY_ALLOW)) == 0)
        return KEEPER_GRANTED;
    return strcmp(decision, policy_outcome_name(POLICY_NEEDS_APPROVAL)) == 0 ? KEEPER_NEEDS_APPROVAL
                                                                             : KEEPER_DENIED;
}

static bool is_of_release(const struct audit_record *record)
{
    return record->event == AUDIT_RELEASE || record->event == AUDIT_UNFINISHED ||
           (record->event == AUDIT_REPEATED && record->purpose &&
            act_purpose_from_word(record->purpose) != PURPOSE_REBASELINE);
}

/* How many decisions a record stands for. */
static uint64_t times_of(const struct audit_record *record)
{
    if (record->event != AUDIT_REPEATED)
        return 1;
    return (uint64_t)json_integer_value(json_object_get(record->detail, "count"));
}

void keeper_count(struct keeper_counts *counts, const struct audit_record *record)
{
    enum keeper_outcome outcome = outcome_of(record);
    uint64_t times = times_of(record);

    counts->events[record->event]++;
    if (record->event == AUDIT_SETTLE || record->event == AUDIT_ALERT ||
        record->event == AUDIT_EXPIRED)
        counts->findings[reason_from_code(record->reason ? record->reason : "")]++;
    if (!is_of_release(record))
        return;
    counts->decisions[outcome][reason_from_code(record->reason ? record->reason : "")] += times;
    if (record->purpose)
        counts->releases[act_purpose_from_word(record->purpose)][outcome] += times;
}

/* What the policy says of its own accord: these samples are there before the first decision. */
static bool is_usual(enum keeper_outcome outcome, enum reason reason)
{
    switch (outcome) {
    case KEEPER_GRANTED:
        return reason >= REASON_PROMOTION && reason <= REASON_REBASELINED;
    case KEEPER_DENIED:
        return reason >= REASON_CANDIDATE_UNREACHABLE && reason <= REASON_BASELINE_UNPROVEN;
    case KEEPER_NEEDS_APPROVAL:
        return reason >= REASON_FORCED_QUORUM && reason <= REASON_ECHO_MISSING;
    default:
        return false;
    }
}

static void write_decisions(FILE *out, const struct keeper_counts *counts)
{
    char labels[128];

    metric_family(out, "decisions_total", METRIC_COUNTER,
                  "Decisions about releases, by outcome and reason.");
    for (int outcome = 0; outcome < KEEPER_OUTCOMES; outcome++) {
        for (int reason = 0; reason < REASON_COUNT; reason++) {
            uint64_t count = counts->decisions[outcome][reason];

            if (count == 0 && !is_usual((enum keeper_outcome)outcome, (enum reason)reason))
                continue;
            snprintf(labels, sizeof(labels), "outcome=\"%s\",reason=\"%s\"", outcomes[outcome],
                     reason_code((enum reason)reason));
            metric_number(out, "decisions_total", labels, (int64_t)count);
        }
    }
    metric_family(out, "releases_total", METRIC_COUNTER,
                  "Decisions about releases, by purpose and outcome.");
    for (int purpose = PURPOSE_PROMOTE; purpose <= PURPOSE_RECOVER; purpose++) {
        for (int outcome = 0; outcome < KEEPER_OUTCOMES; outcome++) {
            snprintf(labels, sizeof(labels), "purpose=\"%s\",outcome=\"%s\"",
                     act_purpose_word((enum act_purpose)purpose), outcomes[outcome]);
            metric_number(out, "releases_total", labels,
                          (int64_t)counts->releases[purpose][outcome]);
        }
    }
}

static void write_events(FILE *out, const struct keeper_counts *counts)
{
    char labels[64];

    metric_family(out, "records_total", METRIC_COUNTER, "Records of the audit log, by event.");
    for (int event = AUDIT_START; event < AUDIT_EVENT_COUNT; event++) {
        snprintf(labels, sizeof(labels), "event=\"%s\"", audit_event_word((enum audit_event)event));
        metric_number(out, "records_total", labels, (int64_t)counts->events[event]);
    }
}

static void write_findings(FILE *out, const struct keeper_counts *counts)
{
    char labels[64];

    metric_family(
        out, "findings_total", METRIC_COUNTER,
        "What escrowd found out by itself, of grants, master keys and groups, by reason.");
    for (int reason = REASON_GRANT_PROVED; reason <= REASON_MASTER_KEY_OPENS; reason++) {
        snprintf(labels, sizeof(labels), "reason=\"%s\"", reason_code((enum reason)reason));
        metric_number(out, "findings_total", labels, (int64_t)counts->findings[reason]);
    }
}

/* ---- log, TPM, store ---- */

static void write_log(FILE *out, const struct keeper *keeper)
{
    struct audit_numbers numbers = {0};

    if (!keeper->audit)
        return;
    audit_numbers(keeper->audit, &numbers);
    metric_single(out, "audit_last_sequence", METRIC_GAUGE, "Of the last record of the audit log.",
                  (int64_t)audit_end(keeper->audit)->sequence);
    metric_single(out, "audit_written_bytes_total", METRIC_COUNTER,
                  "Bytes that were added to the audit log.", (int64_t)numbers.bytes);
    metric_single(out, "audit_free_bytes", METRIC_GAUGE, "Space on the disk of the audit log.",
                  (int64_t)numbers.free_bytes);
    metric_family(out, "audit_commit_duration_seconds", METRIC_HISTOGRAM,
                  "Writing records to the audit log, until they are on the disk.");
    metric_times_write(out, "audit_commit_duration_seconds", "", &numbers.commits);
}

static void write_tpm(FILE *out, const struct keeper *keeper)
{
    struct tpm_numbers numbers;

    tpm_thread_numbers(keeper->tpm_use.thread, &numbers);
    metric_single(out, "tpm_commands_total", METRIC_COUNTER, "Commands that were sent to the TPM.",
                  (int64_t)numbers.commands);
    metric_family(out, "tpm_errors_total", METRIC_COUNTER,
                  "No connection or no answer (transport), or a response code (tpm).");
    metric_number(out, "tpm_errors_total", "kind=\"transport\"", (int64_t)numbers.losses);
    metric_number(out, "tpm_errors_total", "kind=\"tpm\"", (int64_t)numbers.refusals);
    metric_family(out, "tpm_command_duration_seconds", METRIC_HISTOGRAM,
                  "Commands that the TPM answered.");
    metric_times_write(out, "tpm_command_duration_seconds", "", &numbers.times);
    metric_single(out, "tpm_warm_up_left", METRIC_GAUGE,
                  "Objects to load and groups whose approvals are to be verified while the TPM has "
                  "nothing else to do: their next release takes longer there.",
                  (int64_t)warm_left(keeper->warm));
}

static void write_admission(FILE *out, const struct keeper *keeper)
{
    struct admission_numbers numbers;

    admission_numbers(keeper->admission, &numbers);
    metric_single(out, "releases_waiting", METRIC_GAUGE,
                  "Releases that wait until their replicas are asked.", (int64_t)numbers.waiting);
    metric_single(out, "releases_under_way", METRIC_GAUGE,
                  "Releases whose replicas are asked, or that are decided, or at the TPM.",
                  (int64_t)numbers.under_way);
}

static enum escrow_err count_request(const struct store_request *request, void *argument)
{
    int64_t *count = argument;

    (void)request;
    (*count)++;
    return ESCROW_OK;
}

static void write_store(FILE *out, const struct keeper *keeper)
{
    uint64_t versions = 0, unimported = 0, unsettled = 0;
    int64_t requests = 0;

    if (store_count_versions(keeper->store, &versions, &unimported) ||
        store_count_unsettled(keeper->store, &unsettled) ||
        store_list_requests(keeper->store, clock_wall_ms(), count_request, &requests))
        return;
    metric_single(out, "secret_versions", METRIC_GAUGE, "Versions of secrets that are held.",
                  (int64_t)versions);
    metric_single(out, "secret_versions_unimported", METRIC_GAUGE,
                  "Versions that the TPM has not imported: not released before it has.",
                  (int64_t)unimported);
    metric_single(out, "grants_unsettled", METRIC_GAUGE,
                  "Grants of the present epochs of which it is not proved that the key opened.",
                  (int64_t)unsettled);
    metric_single(out, "approvals_pending", METRIC_GAUGE,
                  "Requests that wait for admins; the oldest 100 are counted.", requests);
}

/* ---- groups, instances ---- */

static void write_groups(FILE *out, const struct keeper *keeper)
{
    const struct policy_group *groups;
    size_t count = policy_groups(keeper->policy, &groups);

    metric_family(out, "group_epoch", METRIC_GAUGE,
                  "How many primaries escrowd has known; the label is a hash of the group's name.");
    for (size_t i = 0; i < count; i++) {
        struct store_group known = {0};
        char id[METRIC_ID + 1], labels[32];

        if (store_group(keeper->store, groups[i].name, &known))
            known.epoch = 0;
        metric_id(groups[i].name, id);
        snprintf(labels, sizeof(labels), "group=\"%s\"", id);
        metric_number(out, "group_epoch", labels, (int64_t)known.epoch);
    }
}

static void write_probers(FILE *out, const struct keeper *keeper, const char *name,
                          int64_t (*value)(const struct prober_numbers *prober))
{
    struct prober_numbers prober;

    for (size_t i = 0; probers_numbers(keeper->probers, i, &prober); i++) {
        char id[METRIC_ID + 1], labels[32];

        /* Others never have one. */
        if (!escrowd_config_find(keeper->config, prober.instance))
            continue;
        metric_id(prober.instance, id);
        snprintf(labels, sizeof(labels), "instance=\"%s\"", id);
        metric_number(out, name, labels, value(&prober));
    }
}

static int64_t is_connected(const struct prober_numbers *prober)
{
    return prober->is_connected;
}

static int64_t connections(const struct prober_numbers *prober)
{
    return (int64_t)prober->connections;
}

void keeper_metrics_write(FILE *out, struct keeper *keeper)
{
    usage_write(out, "keeper", &keeper->usage);
    metric_single(out, "front_connections_total", METRIC_COUNTER,
                  "Fronts that the keeper was connected to: one more than restarts of front.",
                  (int64_t)keeper->counts.fronts);
    write_events(out, &keeper->counts);
    write_decisions(out, &keeper->counts);
    write_findings(out, &keeper->counts);
    write_log(out, keeper);
    write_tpm(out, keeper);
    write_admission(out, keeper);
    write_store(out, keeper);
    write_groups(out, keeper);
    metric_family(out, "prober_up", METRIC_GAUGE,
                  "1 if the instance has a prober; the label is a hash of the instance's name.");
    write_probers(out, keeper, "prober_up", is_connected);
    metric_family(out, "prober_connections_total", METRIC_COUNTER,
                  "Probers that the keeper was connected to: one more than restarts.");
    write_probers(out, keeper, "prober_connections_total", connections);
    keeper_alerts_metrics(out, keeper->alerts);
}
