/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/ledger_detail.h"

#include "libescrow/json.h"
#include "policy/evidence.h"

#include <string.h>

static const char *const origin_words[] = {
    [POLICY_ORIGIN_BASELINE] = "baseline", [POLICY_ORIGIN_OBSERVED] = "observed"};
static const char *const opens_words[] = {
    [PROBE_OPENS_UNKNOWN] = "unknown",
    [PROBE_OPENS_YES] = "yes",
    [PROBE_OPENS_NO] = "no",
    [PROBE_OPENS_NO_CERTIFICATE] = "no_certificate",
};

void ledger_hints_from(const struct probe_state *state, struct policy_hints *ret_hints)
{
    size_t len = strlen(state->recovery_lsn);

    memset(ret_hints, 0, sizeof(*ret_hints));
    if (strspn(state->recovery_lsn, "0123456789") == len && len < sizeof(ret_hints->recovery_lsn))
        memcpy(ret_hints->recovery_lsn, state->recovery_lsn, len + 1);
    ret_hints->has_sequence_number = state->has_sequence_number && state->sequence_number >= 0;
    if (ret_hints->has_sequence_number)
        ret_hints->sequence_number = state->sequence_number;
}

static json_t *hints_json(const struct policy_hints *hints)
{
    json_t *number =
        hints->has_sequence_number ? json_integer((json_int_t)hints->sequence_number) : json_null();

    return json_pack("{s:s?, s:o}", "recovery_lsn",
                     hints->recovery_lsn[0] ? hints->recovery_lsn : NULL, "sequence_number",
                     number);
}

static enum escrow_err hints_read(const json_t *document, struct policy_hints *ret_hints)
{
    struct json_reader reader;
    const json_t *number = json_object_get(document, "sequence_number");

    memset(ret_hints, 0, sizeof(*ret_hints));
    json_reader_init(&reader, document, "audit record: hints");
    json_read_name_or_null(&reader, "recovery_lsn", ret_hints->recovery_lsn,
                           sizeof(ret_hints->recovery_lsn));
    if (json_is_null(number)) {
        reader.members_read++;
    } else {
        ret_hints->has_sequence_number = true;
        ret_hints->sequence_number =
            (int64_t)json_read_number(&reader, "sequence_number", 0, INT64_MAX);
    }
    return json_reader_end(&reader);
}

static json_t *wanted_json(const struct ledger_wanted *wanted)
{
    return json_pack("{s:o, s:o, s:I}", "recipient", json_point(&wanted->recipient), "rules",
                     policy_rules_to_json(wanted->rules), "expires_ms",
                     (json_int_t)wanted->expires_ms);
}

static enum escrow_err wanted_read(const json_t *document, struct ledger_wanted *ret_wanted)
{
    struct json_reader reader;

    json_reader_init(&reader, document, "audit record: request");
    json_read_point(&reader, "recipient", &ret_wanted->recipient);
    if (policy_rules_from_json(json_read_array(&reader, "rules", POLICY_RULE_COUNT),
                               &ret_wanted->rules))
        json_reader_fault(&reader, "rules");
    ret_wanted->expires_ms = (int64_t)json_read_number(&reader, "expires_ms", 1, INT64_MAX);
    return json_reader_end(&reader);
}

json_t *ledger_release_detail(const struct ledger_release *release)
{
    json_t *hints = release->has_hints ? hints_json(&release->hints) : json_null();
    json_t *wanted = release->is_wanted ? wanted_json(&release->wanted) : json_null();

    return json_pack("{s:s, s:b, s:o, s:o}", "kind", policy_kind_name(release->kind), "mints_epoch",
                     (int)release->mints_epoch, "hints", hints, "request", wanted);
}

/* Records of before there were approvals have no request. */
enum escrow_err ledger_release_read(const json_t *detail, struct ledger_release *ret_release)
{
    const json_t *mints = json_object_get(detail, "mints_epoch");
    const json_t *hints = json_object_get(detail, "hints");
    const json_t *wanted = json_object_get(detail, "request");
    enum escrow_err err = ESCROW_OK;

    memset(ret_release, 0, sizeof(*ret_release));
    if (!json_is_boolean(mints) || !hints)
        return ESCROW_ERR_MALFORMED;
    ret_release->mints_epoch = json_is_true(mints);
    ret_release->has_hints = !json_is_null(hints);
    if (ret_release->has_hints)
        err = hints_read(hints, &ret_release->hints);
    ret_release->is_wanted = wanted && !json_is_null(wanted);
    if (!err && ret_release->is_wanted)
        err = wanted_read(wanted, &ret_release->wanted);
    return err;
}

json_t *ledger_epoch_detail(const struct ledger_epoch *epoch)
{
    CLEANUP(json_free_p) json_t *hints = json_object();

    for (size_t i = 0; i < epoch->hint_count; i++) {
        if (json_object_set_new(hints, epoch->hints[i].database,
                                hints_json(&epoch->hints[i].hints)))
            return NULL;
    }
    return json_pack("{s:s, s:O}", "origin", origin_words[epoch->origin], "hints", hints);
}

enum escrow_err ledger_epoch_read(const json_t *detail, struct ledger_epoch *ret_epoch)
{
    struct json_reader reader;
    const json_t *hints, *value;
    const char *database;
    enum escrow_err err;

    memset(ret_epoch, 0, sizeof(*ret_epoch));
    json_reader_init(&reader, detail, "audit record: epoch");
    ret_epoch->origin = (enum policy_origin)json_read_word(&reader, "origin", origin_words,
                                                           ARRAY_LEN(origin_words));
    hints = json_read_object(&reader, "hints");
    err = json_reader_end(&reader);
    if (err || json_object_size(hints) > POLICY_DATABASES_MAX)
        return ESCROW_ERR_MALFORMED;
    json_object_foreach((json_t *)(uintptr_t)hints, database, value)
    {
        size_t i = ret_epoch->hint_count++;

        if (strlen(database) > POLICY_DATABASE_MAX || hints_read(value, &ret_epoch->hints[i].hints))
            return ESCROW_ERR_MALFORMED;
        memcpy(ret_epoch->hints[i].database, database, strlen(database) + 1);
    }
    return ESCROW_OK;
}

json_t *ledger_receipt_detail(const struct act_receipt *receipt)
{
    json_t *object = receipt->has_object ? json_tpm_name(&receipt->object) : json_null();

    return json_pack("{s:s, s:o, s:i, s:s, s:b}", "outcome", act_outcome_word(receipt->outcome),
                     "object", object, "sql_error", (int)receipt->sql_error, "text",
                     receipt->detail, "settles", 0);
}

enum escrow_err ledger_receipt_read(const json_t *detail, enum act_outcome *ret_outcome,
                                    bool *ret_settles)
{
    static const enum act_outcome outcomes[] = {OUTCOME_OPENED, OUTCOME_ALREADY_OPEN,
                                                OUTCOME_FAILED};
    const char *word = json_string_value(json_object_get(detail, "outcome"));

    for (size_t i = 0; word && i < ARRAY_LEN(outcomes); i++) {
        if (strcmp(act_outcome_word(outcomes[i]), word) == 0) {
            *ret_outcome = outcomes[i];
            *ret_settles =
                outcomes[i] != OUTCOME_FAILED && !json_is_false(json_object_get(detail, "settles"));
            return ESCROW_OK;
        }
    }
    return ESCROW_ERR_MALFORMED;
}

json_t *ledger_proof_detail(const struct ledger_proof *proof)
{
    json_t *receipt = proof->receipt ? json_integer((json_int_t)proof->receipt) : json_null();

    return json_pack("{s:o, s:s?, s:i, s:i}", "receipt", receipt, "opens",
                     proof->is_told ? opens_words[proof->opens] : NULL, "sql_error",
                     proof->is_told ? (int)proof->sql_error : 0, "asked", (int)proof->asked);
}

enum escrow_err ledger_proof_read(const json_t *detail, struct ledger_proof *ret_proof)
{
    struct ledger_proof proof = {0};
    struct json_reader reader;
    enum escrow_err err;

    json_reader_init(&reader, detail, "audit record: settle");
    if (json_is_null(json_object_get(detail, "receipt")))
        json_read_null(&reader, "receipt");
    else
        proof.receipt = json_read_number(&reader, "receipt", 1, INT64_MAX);
    proof.is_told = !json_is_null(json_object_get(detail, "opens"));
    if (proof.is_told)
        proof.opens =
            (enum probe_opens)json_read_word(&reader, "opens", opens_words, ARRAY_LEN(opens_words));
    else
        json_read_null(&reader, "opens");
    proof.sql_error = json_read_int32(&reader, "sql_error");
    proof.asked = (unsigned)json_read_number(&reader, "asked", 0, INT32_MAX);
    err = json_reader_end(&reader);
    if (!err)
        *ret_proof = proof;
    return err;
}

json_t *ledger_request_detail(uint64_t request)
{
    return json_pack("{s:I}", "request", (json_int_t)request);
}

enum escrow_err ledger_request_read(const json_t *detail, uint64_t *ret_request)
{
    struct json_reader reader;

    json_reader_init(&reader, detail, "audit record: approve");
    *ret_request = json_read_number(&reader, "request", 1, INT64_MAX);
    return json_reader_end(&reader);
}

json_t *ledger_order_detail(int64_t expires_ms)
{
    return json_pack("{s:I}", "expires_ms", (json_int_t)expires_ms);
}

enum escrow_err ledger_order_read(const json_t *detail, int64_t *ret_expires_ms)
{
    struct json_reader reader;

    json_reader_init(&reader, detail, "audit record: order");
    *ret_expires_ms = (int64_t)json_read_number(&reader, "expires_ms", 1, INT64_MAX);
    return json_reader_end(&reader);
}
