#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The commands behind ./dev: a name that nothing has is an error, not a run of nothing that ends well.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file

@test "a test, a bench or a fuzz target that does not exist is an error, and none is run" {
    run -2 tests/run "$BUILD" test_json nosuch
    assert_output 'tests/run: no suite'"'"'s name holds nosuch'
    run -2 tests/bench/bench "$BUILD" --out "$BATS_TEST_TMPDIR/out" memory nosuch
    assert_line --index 0 'bench: no name of a bench holds "nosuch"; there are:'
    assert_line memory
    assert_file_not_exist "$BATS_TEST_TMPDIR/out"
    for name in nosuch jso '' . ../fuzz 'j*' -x; do
        run -2 tests/fuzz/run 1 json "$name"
        assert_line --index 0 "fuzz: no target is called \"$name\"; there are:"
        assert_line json
    done
}

@test "the seconds of a fuzz target are a number" {
    for seconds in json -1 1s ''; do
        run -2 tests/fuzz/run "$seconds" json
        assert_output --partial "SECONDS is a number, not \"$seconds\""
    done
}

@test "the list of fuzz targets is that of their corpora" {
    run -0 sed -nE 's/^escrow_add_fuzz_target\(([a-z]+).*/\1/p' tests/fuzz/CMakeLists.txt
    assert_equal "$(sort <<<"$output")" "$(ls tests/fuzz/corpus)"
}
