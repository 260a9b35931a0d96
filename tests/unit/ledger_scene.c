/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ledger_scene.h"

#include "escrowd/ledger_detail.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct act_subject scene_subject = {FIXTURE_GROUP, DATABASE};

void scene_path(const struct ledger_scene *scene, const char *name, char ret_path[PATH_BYTES])
{
    snprintf(ret_path, PATH_BYTES, "%.150s/%.80s", scene->folder, name);
}

void scene_close(struct ledger_scene *scene)
{
    if (scene->audit)
        audit_close(TAKE(scene->audit));
    if (scene->ledger)
        ledger_close(TAKE(scene->ledger));
    if (scene->store)
        store_close(TAKE(scene->store));
}

enum escrow_err scene_replay(struct ledger_scene *scene, struct audit_reading *ret_reading)
{
    char path[PATH_BYTES];

    scene_close(scene);
    scene_path(scene, "store.sqlite", path);
    assert_int_equal(store_open(path, &scene->store), ESCROW_OK);
    assert_int_equal(ledger_open(scene->store, scene->keys->authority, &scene->ledger), ESCROW_OK);
    return ledger_replay(scene->ledger, scene->folder, ret_reading);
}

void scene_open(struct ledger_scene *scene)
{
    struct audit_reading reading = {0};
    struct audit_config config = {scene->folder, 1 << 20, ledger_fold, NULL};

    assert_int_equal(scene_replay(scene, &reading), ESCROW_OK);
    config.argument = scene->ledger;
    assert_int_equal(audit_open(&config, &reading, &scene->audit), ESCROW_OK);
}

int ledger_scene_setup(void **state)
{
    struct ledger_scene *scene = calloc(1, sizeof(*scene));
    const char *folder = getenv("TMPDIR");
    void *keys;

    assert_non_null(scene);
    assert_int_equal(secret_heap_init(), ESCROW_OK);
    assert_int_equal(fixture_setup(&keys), 0);
    scene->keys = keys;
    snprintf(scene->folder, PATH_BYTES, "%.150s/ledger.XXXXXX", folder ? folder : "/tmp");
    assert_non_null(mkdtemp(scene->folder));
    scene_open(scene);
    *state = scene;
    return 0;
}

int ledger_scene_teardown(void **state)
{
    struct ledger_scene *scene = *state;
    void *keys = scene->keys;
    char command[PATH_BYTES + 16];

    scene_close(scene);
    fixture_teardown(&keys);
    snprintf(command, sizeof(command), "rm -rf '%s'", scene->folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a path of our own */
    free(scene);
    return 0;
}

uint64_t scene_record(struct ledger_scene *scene, const struct audit_record *wanted)
{
    assert_int_equal(audit_append(scene->audit, wanted, NULL, NULL), ESCROW_OK);
    assert_int_equal(audit_commit(scene->audit), ESCROW_OK);
    return audit_end(scene->audit)->sequence;
}

char *scene_sign(const struct ledger_scene *scene, struct act *act, EVP_PKEY *key)
{
    char *compact;

    memset(act->nonce, 7, sizeof(act->nonce));
    act->aud = fixture_name(scene->keys->storage[0]);
    assert_int_equal(act_sign(act, key, &compact), ESCROW_OK);
    return compact;
}

void scene_publish(struct ledger_scene *scene)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_PUBLISH);
    CLEANUP(cleanup_free) char *compact = NULL;
    struct approval *approval = calloc(1, sizeof(*approval));
    struct audit_record wanted = {.event = AUDIT_PUBLISH};

    *approval = (struct approval){.kind = TPM_APPROVAL_NODE,
                                  .group = FIXTURE_GROUP,
                                  .counter = fixture_name(scene->keys->audit[0]),
                                  .epoch = 3,
                                  .act_key_count = 1,
                                  .act_keys = {fixture_name(scene->keys->agent)}};
    assert_int_equal(approval_sign(scene->keys->authority, approval), ESCROW_OK);
    act->purpose = PURPOSE_PUBLISH;
    act->publish.roster = strdup(roster_compact(scene->keys->roster));
    act->publish.approvals = approval;
    act->publish.approval_count = 1;
    compact = scene_sign(scene, act, scene->keys->admin);
    wanted.act = compact;
    scene_record(scene, &wanted);
}

void scene_fill_deposit(struct ledger_scene *scene, struct act *act, uint32_t version)
{
    static const uint8_t policy[32] = {1};
    CLEANUP(secret_free_p) struct secret *data = secret_random(32);
    CLEANUP(secret_free_p) struct secret *sensitive = NULL;
    const struct ec_point to = fixture_point(scene->keys->storage[0]);
    struct wrap_object object;

    assert_int_equal(wrap_object_new(policy, data, &object, &sensitive), ESCROW_OK);
    scene->object = object.name;
    act->purpose = PURPOSE_DEPOSIT;
    act->subject = scene_subject;
    act->deposit.version = version;
    act->deposit.state = SECRET_ACTIVE;
    memset(act->deposit.payload, (int)version, sizeof(act->deposit.payload));
    assert_int_equal(
        wrap_object_marshal(&object, act->deposit.public_area, &act->deposit.public_len),
        ESCROW_OK);
    act->deposit.blob_count = 1;
    act->deposit.blobs[0].to = fixture_name(scene->keys->storage[0]);
    assert_int_equal(wrap_seal(&object, sensitive, &to, &act->deposit.blobs[0].blob), ESCROW_OK);
}

char *scene_deposit_act(struct ledger_scene *scene, uint32_t version)
{
    CLEANUP(act_free_p) struct act *act = act_new(ACT_DEPOSIT);

    scene_fill_deposit(scene, act, version);
    return scene_sign(scene, act, scene->keys->admin);
}

void scene_deposit(struct ledger_scene *scene, uint32_t version)
{
    CLEANUP(cleanup_free) char *compact = scene_deposit_act(scene, version);
    const struct audit_record wanted = {.event = AUDIT_DEPOSIT, .act = compact};

    scene_record(scene, &wanted);
}

uint64_t scene_release(struct ledger_scene *scene, const struct wanted_release *release)
{
    const struct ledger_release detail = {.kind = POLICY_KIND_PROMOTION,
                                          .mints_epoch = release->mints,
                                          .has_hints = true,
                                          .hints = {.recovery_lsn = "42"}};
    CLEANUP(json_free_p) json_t *document = ledger_release_detail(&detail);
    const struct audit_record wanted = {.event = AUDIT_RELEASE,
                                        .actor = FIXTURE_AGENT,
                                        .group = FIXTURE_GROUP,
                                        .database =
                                            release->database ? release->database : DATABASE,
                                        .replica = release->replica,
                                        .purpose = act_purpose_word(release->purpose),
                                        .epoch = release->epoch,
                                        .decision = release->decision,
                                        .reason = "restart",
                                        .order = release->order,
                                        .detail = document};

    return scene_record(scene, &wanted);
}

struct store_request scene_wanted(const char *replica, uint8_t object)
{
    struct store_request wanted = {.subject = scene_subject,
                                   .purpose = PURPOSE_PROMOTE,
                                   .recipient = {.x = {1}, .y = {2}},
                                   .object_count = 1,
                                   .objects = {{.bytes = {object}}}};

    snprintf(wanted.actor, sizeof(wanted.actor), "%s", FIXTURE_AGENT);
    snprintf(wanted.replica, sizeof(wanted.replica), "%s", replica);
    return wanted;
}

void scene_ask_admins(struct ledger_scene *scene, uint64_t epoch, const char *replica,
                      uint8_t object, int64_t expires_ms)
{
    const struct store_request wanted = scene_wanted(replica, object);
    const struct ledger_release detail = {.kind = POLICY_KIND_RESTART,
                                          .is_wanted = true,
                                          .wanted = {.recipient = wanted.recipient,
                                                     .rules = 1U << POLICY_RULE_PROMOTION,
                                                     .expires_ms = expires_ms}};
    CLEANUP(json_free_p) json_t *document = ledger_release_detail(&detail);
    CLEANUP(json_free_p)
    json_t *objects = json_pack("[o]", json_tpm_name(&wanted.objects[0]));
    const struct audit_record record = {.event = AUDIT_RELEASE,
                                        .actor = FIXTURE_AGENT,
                                        .act = "header.payload.signature",
                                        .group = FIXTURE_GROUP,
                                        .database = DATABASE,
                                        .replica = replica,
                                        .purpose = "promote",
                                        .epoch = epoch,
                                        .decision = "needs_approval",
                                        .reason = "restart",
                                        .objects = objects,
                                        .detail = document};

    scene_record(scene, &record);
}

void scene_approve(struct ledger_scene *scene, uint64_t request, const char *identity,
                   EVP_PKEY *key)
{
    CLEANUP(json_free_p) json_t *detail = ledger_request_detail(request);
    const struct tpm_name name = fixture_name(key);
    char hex[TPM_NAME_HEX + 1];

    hex_encode(name.bytes, sizeof(name.bytes), hex);
    scene_record(scene,
                 &(struct audit_record){
                     .event = AUDIT_APPROVE, .actor = identity, .key = hex, .detail = detail});
}

uint64_t scene_promote(struct ledger_scene *scene, uint64_t epoch, bool mints, const char *replica)
{
    return scene_release(scene, &(struct wanted_release){.decision = "allow",
                                                         .purpose = PURPOSE_PROMOTE,
                                                         .epoch = epoch,
                                                         .mints = mints,
                                                         .replica = replica});
}

static uint64_t record_receipt(struct ledger_scene *scene, uint64_t grant, enum act_outcome outcome,
                               bool is_old)
{
    const struct act_receipt said = {.outcome = outcome, .detail = "text"};
    CLEANUP(json_free_p) json_t *detail = ledger_receipt_detail(&said);
    const struct audit_record wanted = {.event = AUDIT_RECEIPT, .grant = grant, .detail = detail};

    if (is_old)
        json_object_del(detail, "settles");
    return scene_record(scene, &wanted);
}

uint64_t scene_receipt(struct ledger_scene *scene, uint64_t grant, enum act_outcome outcome)
{
    return record_receipt(scene, grant, outcome, false);
}

void scene_old_receipt(struct ledger_scene *scene, uint64_t grant, enum act_outcome outcome)
{
    record_receipt(scene, grant, outcome, true);
}

void scene_settle(struct ledger_scene *scene, uint64_t grant, uint64_t receipt, enum reason reason)
{
    const struct ledger_proof proof = {
        .receipt = receipt, .is_told = receipt != 0, .opens = PROBE_OPENS_NO, .asked = 3};
    CLEANUP(json_free_p) json_t *detail = ledger_proof_detail(&proof);

    scene_record(scene, &(struct audit_record){.event = AUDIT_SETTLE,
                                               .grant = grant,
                                               .reason = reason_code(reason),
                                               .detail = detail});
}

void scene_order(struct ledger_scene *scene, const char *id, int64_t expires_ms)
{
    CLEANUP(json_free_p) json_t *detail = ledger_order_detail(expires_ms);
    const struct audit_record wanted = {.event = AUDIT_ORDER,
                                        .group = FIXTURE_GROUP,
                                        .database = DATABASE,
                                        .purpose = "drill",
                                        .order = id,
                                        .detail = detail};

    scene_record(scene, &wanted);
}

static void begin_epoch(struct ledger_scene *scene, struct audit_record *wanted,
                        enum policy_origin origin)
{
    CLEANUP(cleanup_free) struct ledger_epoch *known = calloc(1, sizeof(*known));
    CLEANUP(json_free_p) json_t *detail = NULL;

    known->origin = origin;
    known->hint_count = 1;
    strcpy(known->hints[0].database, DATABASE); /* NOLINT: fits */
    known->hints[0].hints.has_sequence_number = true;
    known->hints[0].hints.sequence_number = (int64_t)wanted->epoch;
    detail = ledger_epoch_detail(known);
    wanted->group = FIXTURE_GROUP;
    wanted->detail = detail;
    scene_record(scene, wanted);
}

void scene_baseline(struct ledger_scene *scene, uint64_t epoch, enum policy_origin origin,
                    const char *replica)
{
    begin_epoch(scene,
                &(struct audit_record){.event = AUDIT_EPOCH, .replica = replica, .epoch = epoch},
                origin);
}

void scene_rebaseline(struct ledger_scene *scene, uint64_t epoch, const char *replica)
{
    /* One that was denied changes nothing. */
    scene_record(scene, &(struct audit_record){.event = AUDIT_REBASELINE,
                                               .group = FIXTURE_GROUP,
                                               .replica = replica,
                                               .epoch = epoch + 7,
                                               .decision = "deny"});
    begin_epoch(
        scene,
        &(struct audit_record){
            .event = AUDIT_REBASELINE, .replica = replica, .epoch = epoch, .decision = "allow"},
        POLICY_ORIGIN_BASELINE);
}
