/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openapi_facts: what the API description must agree with, as one JSON object on stdout:
 *
 *   reasons  [{code, status, text}]
 *   words    {place below components/schemas: [word]}
 *   limits   {place below components/schemas: number}
 */
#include "libescrow/act.h"
#include "libescrow/answer.h"
#include "libescrow/audit_record.h"
#include "libescrow/cleanup.h"
#include "libescrow/encode.h"
#include "libescrow/json.h"
#include "libescrow/reason.h"
#include "policy/decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *reasons(void)
{
    json_t *array = json_array();

    for (size_t i = 0; i < REASON_COUNT; i++) {
        enum reason reason = (enum reason)i;

        json_array_append_new(array,
                              json_pack("{s:s, s:i, s:s}", "code", reason_code(reason), "status",
                                        reason_http_status(reason), "text", reason_text(reason)));
    }
    return array;
}

/* Behind the last value of each enum the word is "unknown". */
#define WORDS(name, first, function, type)                                                         \
    static json_t *name(void)                                                                      \
    {                                                                                              \
        json_t *array = json_array();                                                              \
                                                                                                   \
        for (int i = first; strcmp(function((type)i), "unknown") != 0; i++)                        \
            json_array_append_new(array, json_string(function((type)i)));                          \
        return array;                                                                              \
    }

WORDS(acts, 1, act_kind_word, enum act_kind)
WORDS(purposes, 1, act_purpose_word, enum act_purpose)
WORDS(states, 1, secret_state_word, enum secret_state)
WORDS(outcomes, 1, act_outcome_word, enum act_outcome)
WORDS(answers, 1, answer_kind_word, enum answer_kind)
WORDS(events, 1, audit_event_word, enum audit_event)
WORDS(roles, 1, roster_role_word, enum roster_role)
WORDS(kinds, 0, policy_kind_name, enum policy_kind)
WORDS(rules, 0, policy_rule_name, enum policy_rule)
WORDS(results, 0, policy_result_name, enum policy_result)

static json_t *words(void)
{
    static const struct {
        const char *place;
        json_t *(*list)(void);
    } table[] = {
        {"Act/enum", acts},
        {"Purpose/enum", purposes},
        {"State/enum", states},
        {"Receipt/properties/outcome/enum", outcomes},
        {"ReceiptDetail/properties/outcome/enum", outcomes},
        {"AnswerHeader/properties/answer/enum", answers},
        {"AuditRecord/properties/event/enum", events},
        {"Roster/properties/keys/items/properties/role/enum", roles},
        {"ReleaseKind/enum", kinds},
        {"Verdict/properties/rules/items/properties/rule/enum", rules},
        {"Verdict/properties/rules/items/properties/result/enum", results},
    };
    json_t *object = json_object();

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        json_object_set_new(object, table[i].place, table[i].list());
    return object;
}

static json_t *limits(void)
{
    static const struct {
        const char *place;
        json_int_t limit;
    } table[] = {
        {"Database/maxLength", ACT_DATABASE_MAX},
        {"Identity/maxLength", IDENTITY_MAX},
        {"PublicArea/maxLength", B64URL_LEN(KEY_PUBLIC_MAX)},
        {"Duplicate/maxLength", B64URL_LEN(WRAP_DUPLICATE_MAX)},
        {"Seed/maxLength", B64URL_LEN(WRAP_SEED_MAX)},
        {"Compact/maxLength", JWS_BYTES_MAX},
        {"ObjectSignatures/maxItems", ACT_OBJECTS_MAX},
        {"Deposit/properties/blobs/maxItems", ACT_BLOBS_MAX},
        {"Receipt/properties/detail/maxLength", ACT_DETAIL_MAX},
        {"Order/properties/expires_in/maximum", ACT_ORDER_SECONDS_MAX},
        {"Publish/properties/approvals/maxItems", ACT_APPROVALS_MAX},
        {"Roster/properties/members/maxItems", ROSTER_MEMBERS_MAX},
        {"Roster/properties/keys/maxItems", ROSTER_KEYS_MAX},
        {"Challenge/properties/expires_in/maximum", ANSWER_EXPIRES_SECONDS_MAX},
        {"Challenge/properties/objects/maxItems", ACT_OBJECTS_MAX},
        {"Grant/properties/objects/maxItems", ACT_OBJECTS_MAX},
        {"AuditRecord/properties/objects/maxItems", ACT_OBJECTS_MAX},
        {"Evidence/properties/facts/properties/replicas/maxItems", POLICY_REPLICAS_MAX},
        {"Verdict/properties/rules/minItems", POLICY_RULE_COUNT - 1},
        {"Verdict/properties/rules/maxItems", POLICY_RULE_COUNT},
    };
    json_t *object = json_object();

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        json_object_set_new(object, table[i].place, json_integer(table[i].limit));
    return object;
}

int main(void)
{
    CLEANUP(json_free_p)
    json_t *facts =
        json_pack("{s:o, s:o, s:o}", "reasons", reasons(), "words", words(), "limits", limits());
    CLEANUP(cleanup_free) char *text = facts ? json_text(facts) : NULL;

    return text && puts(text) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
