/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/watch_memory.h"

#include "escrowd/clock.h"
#include "libescrow/cleanup.h"
#include "policy/evidence.h"

void memory_hear(struct memory *memory, const struct probe_state *state)
{
    int64_t now_ms = clock_boot_ms();
    bool is_refusing = state->outcome == PROBE_REFUSED;

    memory->is_known = true;
    memory->last = *state;
    memory->heard_ms = now_ms;
    memory->is_answering = state->outcome == PROBE_ANSWERED;
    if (!is_refusing)
        memory->refusing_ms = 0;
    else if (memory->refusing_ms == 0)
        memory->refusing_ms = now_ms;
    if (!memory->is_answering)
        return;
    memory->last_role = state->role;
    memory->answered_ms = now_ms;
    if (state->role == PROBE_ROLE_PRIMARY)
        memory->primary_ms = now_ms;
}

void memory_silence(struct memory *memory)
{
    memory->is_answering = false;
    memory->refusing_ms = 0;
}

static bool is_told(const struct memory *memory, const struct probe_state *state)
{
    if (!state)
        return memory->told == MEMORY_SILENT;
    if (state->outcome == PROBE_ANSWERED)
        return memory->told == MEMORY_ANSWERS;
    return memory->told == MEMORY_FAILED && memory->told_outcome == state->outcome &&
           memory->told_error == state->sql_error;
}

bool memory_tell(struct memory *memory, const struct probe_state *state)
{
    if (is_told(memory, state))
        return false;
    if (!state) {
        memory->told = MEMORY_SILENT;
    } else if (state->outcome == PROBE_ANSWERED) {
        memory->told = MEMORY_ANSWERS;
    } else {
        memory->told = MEMORY_FAILED;
        memory->told_outcome = state->outcome;
        memory->told_error = state->sql_error;
    }
    return true;
}

/* What was heard since does not become later than now. */
static void postpone(int64_t *time_ms, int64_t by_ms, int64_t now_ms)
{
    if (*time_ms)
        *time_ms = now_ms - *time_ms > by_ms ? *time_ms + by_ms : now_ms;
}

void memory_sleep(struct memory *memory, int64_t slept_ms)
{
    int64_t now_ms = clock_boot_ms();

    postpone(&memory->primary_ms, slept_ms, now_ms);
    postpone(&memory->refusing_ms, slept_ms, now_ms);
}

static int64_t age(int64_t time_ms, int64_t now_ms)
{
    return now_ms > time_ms ? now_ms - time_ms : 0;
}

void memory_history(const struct memory *memory, int64_t slept_ms,
                    struct policy_history *ret_history)
{
    int64_t now_ms = clock_boot_ms() - slept_ms;

    *ret_history = (struct policy_history){
        .is_known = memory->is_known,
        .last_role = memory->answered_ms ? memory->last_role : -1,
        .was_synchronised = memory->was_synchronised,
        .primary_ago_ms = memory->primary_ms ? age(memory->primary_ms, now_ms) : POLICY_NEVER,
        .silent_for_ms = POLICY_NEVER,
        .dead_for_ms = memory->refusing_ms ? age(memory->refusing_ms, now_ms) : 0,
    };
    if (memory->is_answering)
        ret_history->silent_for_ms = 0;
    else if (memory->answered_ms)
        ret_history->silent_for_ms = age(memory->answered_ms, now_ms);
}

static const char *role_word(int32_t role)
{
    static const char *const words[] = {
        [PROBE_ROLE_RESOLVING] = "resolving",
        [PROBE_ROLE_PRIMARY] = "primary",
        [PROBE_ROLE_SECONDARY] = "secondary",
    };

    return role >= 0 && role < (int32_t)ARRAY_LEN(words) ? words[role] : "unknown";
}

json_t *memory_json(const struct memory *memory, const char *instance)
{
    json_t *diagnosis;

    if (!memory->is_known)
        return json_pack("{s:s, s:n, s:n, s:s, s:n}", "instance", instance, "outcome", "role",
                         "diagnosis", "", "ago_ms");
    diagnosis = json_string(memory->last.diagnosis);
    return json_pack("{s:s, s:s, s:s?, s:o, s:I}", "instance", instance, "outcome",
                     policy_outcome_word(memory->last.outcome), "role",
                     memory->is_answering ? role_word(memory->last.role) : NULL, "diagnosis",
                     diagnosis ? diagnosis : json_string("(not UTF-8)"), "ago_ms",
                     (json_int_t)(clock_boot_ms() - memory->heard_ms));
}
