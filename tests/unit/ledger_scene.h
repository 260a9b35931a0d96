/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "escrowd/audit.h"
#include "escrowd/ledger.h"
#include "escrowd/store_requests.h"
#include "tests/unit/fixture.h"

/* For tests of the ledger: a log, the store that follows it, and records. Failures are cmocka's. */

#define PATH_BYTES 256
#define DATABASE "SSISDB"
#define NOW_MS (INT64_MAX / 2) /* later than every record */

#define LEDGER_TEST(test)                                                                          \
    cmocka_unit_test_setup_teardown(test, ledger_scene_setup, ledger_scene_teardown)

struct ledger_scene {
    struct fixture *keys;
    char folder[PATH_BYTES];
    struct store *store;
    struct ledger *ledger;
    struct audit *audit;
    struct tpm_name object; /* of the last deposit */
};

/* DATABASE of the fixture's group. */
extern const struct act_subject scene_subject;

/* Set-up and teardown of a test, whose state is the scene, open. */
int ledger_scene_setup(void **state);
int ledger_scene_teardown(void **state);

void scene_path(const struct ledger_scene *scene, const char *name, char ret_path[PATH_BYTES]);
/* Opens store and ledger, and replays the log; the log itself stays closed. */
enum escrow_err scene_replay(struct ledger_scene *scene, struct audit_reading *ret_reading);
/* All three; closed before if they are open. */
void scene_open(struct ledger_scene *scene);
void scene_close(struct ledger_scene *scene);

/* Appends and commits; returns the sequence of the record. So do those below that return one. */
uint64_t scene_record(struct ledger_scene *scene, const struct audit_record *wanted);
/* Compact, owned by the caller. */
char *scene_sign(const struct ledger_scene *scene, struct act *act, EVP_PKEY *key);

/* The fixture's roster, and an approval of its agent for epoch 3. */
void scene_publish(struct ledger_scene *scene);
void scene_fill_deposit(struct ledger_scene *scene, struct act *act, uint32_t version);
/* Signed by the admin; owned by the caller. */
char *scene_deposit_act(struct ledger_scene *scene, uint32_t version);
void scene_deposit(struct ledger_scene *scene, uint32_t version);

struct wanted_release {
    const char *decision;
    enum act_purpose purpose;
    uint64_t epoch;
    bool mints;
    const char *replica, *order;
    const char *database; /* NULL: DATABASE */
};

/* What admins are asked for by such a record: from agent's key, for the objects whose first byte is
 * given; expires at the Unix time. */
void scene_ask_admins(struct ledger_scene *scene, uint64_t epoch, const char *replica,
                      uint8_t object, int64_t expires_ms);
/* The same, as the store finds it. */
struct store_request scene_wanted(const char *replica, uint8_t object);
/* An approval of that request. */
void scene_approve(struct ledger_scene *scene, uint64_t request, const char *identity,
                   EVP_PKEY *key);

uint64_t scene_release(struct ledger_scene *scene, const struct wanted_release *release);
/* A release that was allowed. */
uint64_t scene_promote(struct ledger_scene *scene, uint64_t epoch, bool mints, const char *replica);
/* Returns its sequence. */
uint64_t scene_receipt(struct ledger_scene *scene, uint64_t grant, enum act_outcome outcome);
/* The same as a keeper wrote it that settled by receipts. */
void scene_old_receipt(struct ledger_scene *scene, uint64_t grant, enum act_outcome outcome);
/* What became of the grant; receipt 0: none came. */
void scene_settle(struct ledger_scene *scene, uint64_t grant, uint64_t receipt, enum reason reason);
void scene_order(struct ledger_scene *scene, const char *id, int64_t expires_ms);
void scene_baseline(struct ledger_scene *scene, uint64_t epoch, enum policy_origin origin,
                    const char *replica);
/* The same by an admin's rebaseline. */
void scene_rebaseline(struct ledger_scene *scene, uint64_t epoch, const char *replica);
