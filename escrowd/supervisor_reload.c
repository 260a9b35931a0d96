/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over files that have changed, while everything runs. */
#include "escrowd/credentials.h"
#include "escrowd/supervisor_parts.h"
#include "escrowd/watched.h"
#include "libescrow/log.h"

#include <string.h>

/* One offer at a time; front says whether they are right, and until then the old ones count. */
void supervisor_offer_credentials(struct supervisor *supervisor)
{
    const struct escrowd_config *config = supervisor->snapshot.config;

    supervisor->is_offer_due = supervisor->offered_fd >= 0 || !process_is_ready(supervisor->front);
    if (supervisor->is_offer_due)
        return;
    if (credentials_seal(&config->tls, &supervisor->offered_fd) != ESCROW_OK)
        log_warning("certificate, key, CAs and revocation lists in use stay");
    else if (!process_reload(supervisor->front, supervisor->offered_fd))
        cleanup_close(&supervisor->offered_fd);
}

void supervisor_settle_offer(struct supervisor *supervisor, bool is_taken)
{
    if (is_taken) {
        cleanup_close(&supervisor->snapshot.credentials_fd);
        supervisor->snapshot.credentials_fd = supervisor->offered_fd;
        supervisor->offered_fd = -1;
    }
    cleanup_close(&supervisor->offered_fd);
    if (supervisor->is_offer_due)
        supervisor_offer_credentials(supervisor);
}

/* A prober goes on with the connection that it has: a new one uses what its files hold now. */
static void restart_probers(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->prober_count; i++) {
        struct process *prober = supervisor->probers[i];

        if (!watched_has_new_login(supervisor->watch, supervisor->snapshot.config,
                                   process_instance(prober)))
            continue;
        log_notice("%s starts anew: its CA, password or keytab file has changed",
                   process_name(prober));
        process_shut_down(prober, SUPERVISOR_PROBER_END_MS);
    }
}

static bool has_same_alert(const struct snapshot *a, const struct snapshot *b)
{
    const struct escrowd_alert *one = &a->config->alert, *other = &b->config->alert;

    if (!one->command || !other->command)
        return one->command == other->command;
    return strcmp(one->command, other->command) == 0 && one->timeout_ms == other->timeout_ms;
}

static void take_rules(struct supervisor *supervisor)
{
    struct snapshot snapshot;
    bool has_new_alert;

    if (snapshot_take(supervisor->config_path, &snapshot) != ESCROW_OK) {
        log_error("configuration and policy in use stay");
        return;
    }
    if (snapshot_equal(&snapshot, &supervisor->snapshot)) {
        log_info("configuration and policy have not changed");
        snapshot_deinit(&snapshot);
        return;
    }
    log_notice("configuration or policy has changed: keeper and probers start anew");
    has_new_alert = !has_same_alert(&snapshot, &supervisor->snapshot);
    snapshot.credentials_fd = supervisor->snapshot.credentials_fd;
    supervisor->snapshot.credentials_fd = -1;
    snapshot_deinit(&supervisor->snapshot);
    supervisor->snapshot = snapshot;
    if (watched_set(supervisor->watch, supervisor->config_path, snapshot.config) != ESCROW_OK)
        log_error("the files of the new configuration are not watched: no memory");
    if (has_new_alert)
        supervisor_replace_alerter(supervisor);
    supervisor->is_reloading = true;
    supervisor_advance_reload(supervisor);
}

/* What comes while roles are being replaced is looked at after that. */
static bool may_reload(struct supervisor *supervisor)
{
    supervisor->is_reload_due = supervisor->is_reloading;
    return !supervisor->is_stopping && !supervisor->is_reloading;
}

void supervisor_reload(struct supervisor *supervisor)
{
    if (!may_reload(supervisor))
        return;
    file_watch_look(supervisor->watch);
    restart_probers(supervisor);
    take_rules(supervisor);
    supervisor_offer_credentials(supervisor);
}

void supervisor_on_change(void *argument)
{
    struct supervisor *supervisor = argument;
    struct file_watch *watch = supervisor->watch;
    const struct escrowd_config *config = supervisor->snapshot.config;
    bool has_new_rules = watched_has_new_rules(watch, supervisor->config_path, config);
    bool has_new_credentials = watched_has_new_credentials(watch, config);

    if (!may_reload(supervisor))
        return;
    restart_probers(supervisor);
    if (has_new_rules)
        take_rules(supervisor);
    if (has_new_rules || has_new_credentials)
        supervisor_offer_credentials(supervisor);
}

/*
 * First the keeper, so that what is in flight is decided under the old policy, then its probers;
 * when none of them is left, all start anew. No old one ever talks to a new one.
 */
void supervisor_advance_reload(struct supervisor *supervisor)
{
    int64_t limit_ms = supervisor->snapshot.config->limits.shutdown_ms;

    if (process_is_running(supervisor->keeper)) {
        process_shut_down(supervisor->keeper, limit_ms);
        return;
    }
    if (supervisor_any_prober_runs(supervisor)) {
        supervisor_shut_down_probers(supervisor);
        return;
    }
    supervisor->is_reloading = false;
    if (supervisor_new_probers(supervisor) != ESCROW_OK) {
        supervisor_stop(supervisor, ESCROW_ERR_NO_MEMORY);
        return;
    }
    supervisor_start(supervisor, supervisor->keeper);
    for (size_t i = 0; i < supervisor->prober_count; i++)
        supervisor_start(supervisor, supervisor->probers[i]);
    if (supervisor->is_reload_due)
        supervisor_reload(supervisor);
}
