/* SPDX-License-Identifier: Apache-2.0 */
#include "libescrow/act.h"

#include <string.h>

/* Each table is indexed by its enum; index 0 is no word. */
static const char *const kind_words[] = {
    [ACT_DEPOSIT] = "deposit",       [ACT_RELEASE] = "release", [ACT_RECEIPT] = "receipt",
    [ACT_ORDER] = "order",           [ACT_APPROVE] = "approve", [ACT_PUBLISH] = "publish",
    [ACT_REBASELINE] = "rebaseline",
};
static const char *const purpose_words[] = {
    [PURPOSE_DEPOSIT] = "deposit",       [PURPOSE_PROMOTE] = "promote",
    [PURPOSE_ROTATE] = "rotate",         [PURPOSE_DRILL] = "drill",
    [PURPOSE_RECOVER] = "recover",       [PURPOSE_PUBLISH] = "publish",
    [PURPOSE_REBASELINE] = "rebaseline",
};
static const char *const state_words[] = {
    [SECRET_PENDING] = "pending",
    [SECRET_ACTIVE] = "active",
    [SECRET_RETIRED] = "retired",
    [SECRET_DESTROYED] = "destroyed",
};
static const char *const outcome_words[] = {
    [OUTCOME_OPENED] = "opened",
    [OUTCOME_ALREADY_OPEN] = "already_open",
    [OUTCOME_FAILED] = "failed",
};

static const char *word_of(const char *const *words, size_t count, size_t index)
{
    return index > 0 && index < count ? words[index] : "unknown";
}

static size_t index_of(const char *const *words, size_t count, const char *word)
{
    for (size_t i = 1; word && i < count; i++) {
        if (strcmp(words[i], word) == 0)
            return i;
    }
    return 0;
}

const char *act_kind_word(enum act_kind kind)
{
    return word_of(kind_words, ARRAY_LEN(kind_words), kind);
}

const char *act_purpose_word(enum act_purpose purpose)
{
    return word_of(purpose_words, ARRAY_LEN(purpose_words), purpose);
}

const char *secret_state_word(enum secret_state state)
{
    return word_of(state_words, ARRAY_LEN(state_words), state);
}

const char *act_outcome_word(enum act_outcome outcome)
{
    return word_of(outcome_words, ARRAY_LEN(outcome_words), outcome);
}

enum act_kind act_kind_from_word(const char *word)
{
    return (enum act_kind)index_of(kind_words, ARRAY_LEN(kind_words), word);
}

enum act_purpose act_purpose_from_word(const char *word)
{
    return (enum act_purpose)index_of(purpose_words, ARRAY_LEN(purpose_words), word);
}

enum secret_state secret_state_from_word(const char *word)
{
    return (enum secret_state)index_of(state_words, ARRAY_LEN(state_words), word);
}

enum act_outcome act_outcome_from_word(const char *word)
{
    return (enum act_outcome)index_of(outcome_words, ARRAY_LEN(outcome_words), word);
}
