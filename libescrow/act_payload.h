/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/act.h"
#include "libescrow/json.h"

/* The payloads of acts, one pair of functions a kind; shared by act.c, act_payload.c and answer.c.
 */

/* The payload of an act; NULL without memory. */
json_t *act_payload_write(const struct act *act);
/* Fills purpose, subject and the act's own part. ESCROW_ERR_MALFORMED with a log line. */
MUST_CHECK enum escrow_err act_payload_read(const json_t *payload, struct act *act);

/* Members that several documents share. */
void act_read_subject(struct json_reader *reader, struct act_subject *ret_subject);
/* "key", "duplicate" and "seed". */
void act_read_blob(struct json_reader *reader, struct wrap_blob *ret_blob);
/* Adds them; false without memory. */
bool act_write_subject(json_t *object, const struct act_subject *subject);
bool act_write_blob(json_t *object, const struct wrap_blob *blob);
