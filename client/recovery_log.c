/* SPDX-License-Identifier: Apache-2.0 */
#include "client/recovery_log.h"

#include "libescrow/audit_reader.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct walk {
    const struct recovery_search *search;
    EVP_PKEY *authority; /* owned */
    struct roster *roster;
    struct act *found;
};

static void walk_deinit(struct walk *walk)
{
    EVP_PKEY_free(walk->authority);
    roster_free(walk->roster);
    act_free(walk->found);
}

/* The authority that a roster names as its own. */
static enum escrow_err claimed_authority(const char *roster, EVP_PKEY **ret_authority)
{
    CLEANUP(json_free_p) json_t *payload = NULL;
    struct json_reader reader;
    struct ec_point point;
    enum escrow_err err = jws_unverified_payload(roster, strlen(roster), &payload);

    if (err)
        return err;
    json_reader_init(&reader, payload, "roster");
    json_read_point(&reader, "authority", &point);
    return reader.is_faulty ? ESCROW_ERR_MALFORMED : key_from_point(&point, ret_authority);
}

static enum escrow_err find_authority(struct walk *walk, const char *compact)
{
    CLEANUP(json_free_p) json_t *payload = NULL;
    const char *roster;
    struct ec_point point;
    struct tpm_name name;
    char hex[TPM_NAME_HEX + 1];
    enum escrow_err err = jws_unverified_payload(compact, strlen(compact), &payload);

    if (err)
        return err;
    roster = json_string_value(json_object_get(payload, "roster"));
    err = roster ? claimed_authority(roster, &walk->authority) : ESCROW_ERR_MALFORMED;
    if (!err)
        err = key_point(walk->authority, &point);
    if (!err)
        err = key_signer_name(&point, &name);
    if (err)
        return err;
    hex_encode(name.bytes, sizeof(name.bytes), hex);
    log_notice("without --authority: the log's own policy authority is believed, %s", hex);
    return ESCROW_OK;
}

/* As the keeper took it over: the first roster vouches for its own publisher. */
static enum escrow_err follow_publish(struct walk *walk, const struct audit_record *record)
{
    CLEANUP(act_free_p) struct act *act = NULL;
    CLEANUP(roster_free_p) struct roster *roster = NULL;
    enum escrow_err err = ESCROW_OK;

    if (!walk->authority)
        err = find_authority(walk, record->act);
    if (err)
        return err;
    if (!walk->roster)
        return act_verify_first(record->act, strlen(record->act), walk->authority, &act,
                                &walk->roster);
    err = act_verify(record->act, strlen(record->act), walk->roster, &act);
    if (!err && act->kind != ACT_PUBLISH)
        err = ESCROW_ERR_MALFORMED;
    if (err || !act->publish.roster)
        return err;
    err = roster_parse(act->publish.roster, strlen(act->publish.roster), walk->authority, &roster);
    if (err)
        return err;
    roster_free(walk->roster);
    walk->roster = TAKE(roster);
    return ESCROW_OK;
}

static bool is_wanted(const struct recovery_search *search, const struct act *act)
{
    return search->version ? act->deposit.version == search->version
                           : act->deposit.state == SECRET_ACTIVE;
}

static enum escrow_err follow_deposit(struct walk *walk, const struct audit_record *record)
{
    const struct recovery_search *search = walk->search;
    CLEANUP(act_free_p) struct act *act = NULL;
    char time_text[AUDIT_TIME_TEXT];
    enum escrow_err err;

    if (!walk->roster)
        return ESCROW_ERR_MALFORMED;
    err = act_verify(record->act, strlen(record->act), walk->roster, &act);
    if (!err && (act->kind != ACT_DEPOSIT || strcmp(act->subject.group, search->group) != 0 ||
                 strcmp(act->subject.database, search->database) != 0))
        err = ESCROW_ERR_MALFORMED;
    if (err)
        return err;
    audit_time_format(record->time_ms, time_text);
    log_notice("record %" PRIu64 ": version %" PRIu32 " (%s), deposited %s by %s", record->sequence,
               act->deposit.version, secret_state_word(act->deposit.state), time_text,
               roster_find_key(walk->roster, &act->kid)->identity);
    if (is_wanted(search, act)) {
        act_free(walk->found);
        walk->found = TAKE(act);
    }
    return ESCROW_OK;
}

static bool is_about(const struct audit_record *record, const struct recovery_search *search)
{
    return record->group && record->database && strcmp(record->group, search->group) == 0 &&
           strcmp(record->database, search->database) == 0;
}

static enum escrow_err follow(const struct audit_line *line, void *argument)
{
    const struct audit_record *record = line->record;
    struct walk *walk = argument;
    bool is_deposit = record->event == AUDIT_DEPOSIT && is_about(record, walk->search);
    enum escrow_err err = ESCROW_OK;

    if (!is_deposit && record->event != AUDIT_PUBLISH)
        return ESCROW_OK;
    if (!record->act)
        err = ESCROW_ERR_MALFORMED;
    else
        err = is_deposit ? follow_deposit(walk, record) : follow_publish(walk, record);
    if (err)
        log_error("record %" PRIu64 ": its act is not what it must be (%s)", record->sequence,
                  escrow_err_name(err));
    return err;
}

enum escrow_err recovery_find(const struct recovery_search *search, struct act **ret_deposit)
{
    CLEANUP(walk_deinit) struct walk walk = {.search = search, .authority = search->authority};
    struct audit_reading reading;
    enum escrow_err err;

    if (walk.authority)
        EVP_PKEY_up_ref(walk.authority);
    err = audit_read(search->folder, 1, follow, &walk, &reading);
    if (reading.fault)
        log_warning("what follows in the log is not looked at; newer versions may be missing");
    else if (err)
        return err;
    if (!walk.found) {
        log_error("the log holds no %s of %s/%s",
                  search->version ? "such version" : "active version", search->group,
                  search->database);
        return ESCROW_ERR_NOT_FOUND;
    }
    *ret_deposit = TAKE(walk.found);
    return ESCROW_OK;
}

static const struct wrap_blob *find_blob(const struct act_deposit *deposit, EVP_PKEY *recovery)
{
    struct ec_point point;
    struct tpm_name name;

    if (key_point(recovery, &point) || key_recipient_name(&point, &name))
        return NULL;
    for (size_t i = 0; i < deposit->blob_count; i++) {
        if (tpm_name_equal(&deposit->blobs[i].to, &name))
            return &deposit->blobs[i].blob;
    }
    return NULL;
}

static enum escrow_err open_payload(const struct act *deposit, const struct wrap_blob *blob,
                                    EVP_PKEY *recovery, struct secret **ret_password)
{
    CLEANUP(secret_free_p) struct secret *data_key = NULL;
    struct payload_binding binding = {.group = deposit->subject.group,
                                      .database = deposit->subject.database,
                                      .version = deposit->deposit.version};
    struct wrap_object object;
    enum escrow_err err =
        wrap_object_parse(deposit->deposit.public_area, deposit->deposit.public_len, &object);

    if (!err)
        err = wrap_open(&object, blob, recovery, &data_key);
    if (err)
        return err;
    binding.object = object.name;
    return payload_open(&binding, data_key, deposit->deposit.payload, ret_password);
}

enum escrow_err recovery_open(const struct act *deposit, EVP_PKEY *recovery,
                              struct secret **ret_password)
{
    const struct wrap_blob *blob = find_blob(&deposit->deposit, recovery);
    enum escrow_err err;

    if (!blob) {
        log_error("version %" PRIu32 " was not wrapped to this recovery key",
                  deposit->deposit.version);
        return ESCROW_ERR_NOT_FOUND;
    }
    err = open_payload(deposit, blob, recovery, ret_password);
    if (err)
        log_error("version %" PRIu32 " cannot be opened: its deposit was not made as it must be",
                  deposit->deposit.version);
    return err;
}
