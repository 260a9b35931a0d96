/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/ipc_messages.h"

#include <jansson.h>

/*
 * What front serves with, as front says: for status, and so that somebody is told in time when a
 * certificate, a CA or a revocation list must be renewed. Nothing is decided by it. Pure: it knows
 * no clock, no log and no front.
 */

struct served;

/* Front has said nothing yet. NULL without memory. */
struct served *served_new(void);
void served_free(struct served *served);
CLEANUP_FUNCTION(served_free_p, struct served, served_free)

/* Front has said it. */
void served_set(struct served *served, const struct ipc_served *said);

/* For GET /v1/status: an object, or JSON null before front has said anything; NULL without memory.
 */
json_t *served_json(const struct served *served);

/* What a person must do something about. */
struct served_alert {
    const struct tls_item *item;
    enum reason reason; /* REASON_OWN_CERTIFICATE_EXPIRING, ..._EXPIRED, REASON_CA_EXPIRING,
                           REASON_CRL_STALE */
};

/* True: it was told, and is not told again on that day. */
typedef bool (*served_alert_fn)(const struct served_alert *alert, void *argument);

/*
 * Calls on_alert for what expires within 30 days of now_s (a list: is past its next update), once
 * for each and day (UTC); however often front says something else, for at most TLS_ITEMS_MAX a day.
 */
void served_look(struct served *served, int64_t now_s, served_alert_fn on_alert, void *argument);

/* Calls on_due for each of them now, whether it was told or not, until one returns false. */
void served_each_due(const struct served *served, int64_t now_s, served_alert_fn on_due,
                     void *argument);

/* {"what", "name", "serial", "until"}: the detail of the record of an alert; NULL without memory.
 */
json_t *served_alert_json(const struct served_alert *alert);
