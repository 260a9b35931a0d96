/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "libescrow/err.h"
#include "tests/fuzz/inject.h"

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What every fuzz target is made of. A target says in its first comment which property it holds the
 * code to, and is one function. fuzz.c runs it on each input twice: as it is, and with one of the
 * calls into other libraries failing (inject.h; which one follows from the input). The corpora are
 * replayed by the test suite with every call failing once (replay.c).
 */

/* The target: of one input. bytes is NULL if len is 0. */
void fuzz_input(const uint8_t *bytes, size_t len);

/* libFuzzer's entry, defined in fuzz.c. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Runs the target with a plan, and how many calls it made (inject.h). */
uint64_t fuzz_run(const uint8_t *bytes, size_t len, const struct inject_plan *plan);

/* The finding, and the end of the process, unless the condition holds. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_finding(__FILE__, __LINE__, #condition);                                          \
    } while (0)
_Noreturn void fuzz_finding(const char *file, int line, const char *condition);

/*
 * What must be so after a step that the input does not decide: true if it succeeded; false if it
 * failed and was made to. A step that fails by itself is a finding.
 */
static inline bool fuzz_went_well(bool is_good)
{
    FUZZ_CHECK(is_good || inject_failures() > 0);
    return is_good;
}

/* No result is ESCROW_ERR_NO_MEMORY or ESCROW_ERR_SYSTEM by itself: only an injected failure is. */
void fuzz_check_err(enum escrow_err err);

/* What an out parameter holds before a call that may not touch it on failure. */
#define FUZZ_UNTOUCHED ((void *)(uintptr_t)0xf7f7f7f7)

/* The JSON object in the bytes, read by jansson alone; NULL if they are none. Never fails. */
json_t *fuzz_json(const uint8_t *bytes, size_t len);

/*
 * One byte of a text of base64url and dots replaced by another such one; which, follows from the
 * text itself.
 */
void fuzz_alter(char *text);

/* The rest of an input, from which a target takes pieces; short inputs give zeros. */
struct fuzz_source {
    const uint8_t *bytes;
    size_t len;
};
uint8_t fuzz_take_byte(struct fuzz_source *source);
/* At most max bytes: a length of two bytes of the input, then these. */
const uint8_t *fuzz_take_bytes(struct fuzz_source *source, size_t max, size_t *ret_len);
