#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The API description: a sound OpenAPI 3.1 document that says what the code says, and a validator
# that sees every fault of an answer. Real answers: tests/integration/openapi.bats.

bats_require_minimum_version 1.5.0

setup() {
    ROOT=$BATS_TEST_DIRNAME/../..
    DOCUMENT=$ROOT/escrowd/openapi.yaml
    "$BUILD/tests/openapi/openapi_facts" >"$BATS_TEST_TMPDIR/facts"
}

check_document() {
    "$BATS_TEST_DIRNAME/check_document.py" "$1" "$BATS_TEST_TMPDIR/facts" \
        "$ROOT/escrowd/front_route.c"
}

# altered SED-SCRIPT: the document after an edit that must change something.
altered() {
    sed -E "$1" "$DOCUMENT" >"$BATS_TEST_TMPDIR/altered.yaml"
    if cmp -s "$DOCUMENT" "$BATS_TEST_TMPDIR/altered.yaml"; then
        return 2
    fi
    check_document "$BATS_TEST_TMPDIR/altered.yaml"
}

@test "the description is OpenAPI 3.1 and says what the code says" {
    run -0 check_document "$DOCUMENT"
    [ -z "$output" ]
}

# An edit of the document, and what is said about it.
@test "a description that differs from the code or from OpenAPI is seen" {
    while IFS='~' read -r edit fault; do
        run -1 altered "$edit"
        echo "$edit -> $output"
        [[ $output == *"$fault"* ]]
    done <<'TEXT'
s/^openapi: 3.1.0/openapi: 3.0.3/~'3.1.0' was expected
s/^  title: escrowd/  name: escrowd/~'title' is a required property
s/operationId: getStatus/operationId: getHealth/~its operationId stands there twice
s,^  /v1/status:,  /v1/state:,~route: ('/v1/status', 'GET') is not in the document
s/^    post:$/    put:/~'put' was unexpected
s/name: limit/name: count/~parameter: limit is not in the document
s/^        - no_such_path$/        - no_such_paths/~reason: ('no_such_path', 404
s/The act key is not in the roster/The act key is missing/~reason: ('key_unknown', 403
s/x-status: 405/x-status: 406/~reason: ('method_not_allowed', 405
s/^            - log_back$/            - log_front/~AuditRecord/properties/event/enum: log_back is not in the document
s/maxLength: 255/maxLength: 256/~Identity/maxLength is 256, in the code 255
s/schemas.Noted"/schemas\/Notes"/~leads nowhere
s/pattern: \^spiffe/pattern: ^https/~the example is none
s/minItems: 1$/minItem: 1/~the keyword minItem is not used here
s/type: boolean/type: bool/~not a JSON Schema
s/additionalProperties: false/title: Open/~an object that is open
TEXT
}

@test "answers as they should be are taken" {
    run -0 "$BATS_TEST_DIRNAME/check_answers.py" "$DOCUMENT" \
        < <("$BATS_TEST_DIRNAME/sample_answers.py")
    [[ $output == *"1 POST /v1/release 202"* ]]
}

@test "an answer with a fault anywhere is not taken" {
    run -0 "$BATS_TEST_DIRNAME/mutate_answers.py" "$DOCUMENT" \
        < <("$BATS_TEST_DIRNAME/sample_answers.py")
    [[ $output == *" mutations, 0 taken" ]]
}

@test "no answers at all are a fault" {
    run -1 "$BATS_TEST_DIRNAME/check_answers.py" "$DOCUMENT" </dev/null
}
