/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON bodies of HTTP, both ways: one that is taken is written again as it was, and every
 * problem document is JSON with its code, whatever the detail. The first byte of the input chooses,
 * the rest is the body.
 */
#include "client/enrollment.h"
#include "escrowd/front_problem.h"
#include "libescrow/json.h"
#include "libescrow/rpc.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_challenge(const char *text, size_t len)
{
    CLEANUP(json_free_p) json_t *body = fuzz_json((const uint8_t *)text, len), *again_body = NULL;
    CLEANUP(cleanup_free) char *again = NULL;
    struct rpc_challenge challenge;
    enum escrow_err err = rpc_challenge_parse(text, len, &challenge);

    fuzz_check_err(err);
    if (err)
        return;
    again = rpc_challenge_text(&challenge);
    if (!fuzz_went_well(again != NULL))
        return;
    again_body = fuzz_json((const uint8_t *)again, strlen(again));
    FUZZ_CHECK(json_equal(body, again_body));
}

static void check_wrapped(const char *text, size_t len, const char *member)
{
    CLEANUP(json_free_p) json_t *body = fuzz_json((const uint8_t *)text, len), *again_body = NULL;
    CLEANUP(cleanup_free) char *compact = NULL, *again = NULL;
    enum escrow_err err = rpc_unwrap(text, len, member, &compact);

    fuzz_check_err(err);
    FUZZ_CHECK(!err == !!compact);
    if (err)
        return;
    again = rpc_wrap(member, compact);
    if (!fuzz_went_well(again != NULL))
        return;
    again_body = fuzz_json((const uint8_t *)again, strlen(again));
    FUZZ_CHECK(json_equal(body, again_body));
}

static void check_problem(const char *text, size_t len)
{
    const enum reason reason = len > 0 ? (enum reason)((uint8_t)text[0] % REASON_COUNT) : 1;
    CLEANUP(cleanup_free) char *detail = NULL, *problem = NULL;
    CLEANUP(json_free_p) json_t *document = NULL;
    const char *code;

    inject_hold(true);
    detail = strndup(len > 0 ? text : "", len);
    inject_hold(false);
    problem = front_problem(reason, detail);
    if (!fuzz_went_well(problem != NULL))
        return;
    document = fuzz_json((const uint8_t *)problem, strlen(problem));
    code = json_string_value(json_object_get(document, "code"));
    FUZZ_CHECK(code && strcmp(code, reason_code(reason)) == 0);
}

/* A request to enroll counts only with the signature of the key in it; nobody has signed this. */
static void check_enrollment(const char *text, size_t len)
{
    json_t *entry = FUZZ_UNTOUCHED;
    enum escrow_err err = enrollment_read(text, len, &entry);

    fuzz_check_err(err);
    FUZZ_CHECK(err && entry == FUZZ_UNTOUCHED);
}

void fuzz_input(const uint8_t *bytes, size_t len)
{
    struct fuzz_source source = {bytes, len};
    const uint8_t which = fuzz_take_byte(&source) % 5;
    const char *text = (const char *)source.bytes;

    if (which == 0)
        check_challenge(text, source.len);
    else if (which == 1)
        check_wrapped(text, source.len, "act");
    else if (which == 2)
        check_wrapped(text, source.len, "answer");
    else if (which == 3)
        check_problem(text, source.len);
    else
        check_enrollment(text, source.len);
}
