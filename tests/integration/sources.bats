#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the tree cites can be followed by whoever has nothing but the tree.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

@test "every source that the model and the conformance rows cite is in SOURCES.md" {
    run -0 tests/sqlsim/check_sources.py
    assert [ "$(grep -c '^ok .* cited by' <<<"$output")" -ge 30 ]
    # And it can say no: without one tag, and without one source.
    sed '/^| 1\.4 |/d; /^| CTRLPW |/d' tests/sqlsim/SOURCES.md >"$BATS_TEST_TMPDIR/page"
    run -1 tests/sqlsim/check_sources.py "$BATS_TEST_TMPDIR/page"
    assert_line --regexp '^not ok .* 1\.4, cited by'
    assert_line --regexp '^not ok .* source CTRLPW of 1\.9'
}

@test "nothing cites a document that is not in the tree" {
    run grep -rnEiI '(design|style|platform-facts)\.md|design section|platform[ -]facts' . \
        --exclude-dir={build,.git,node_modules} --exclude=sources.bats --exclude=.git
    assert_failure 1
}
