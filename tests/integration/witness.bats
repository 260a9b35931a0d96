#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Outside witnesses of sqlsim: clients and dissectors that we did not write.

bats_load_library bats-support
bats_load_library bats-assert
load sql

setup_file() {
    {
        make_ca ca
        make_certificate good sql1.test.invalid 2
    } 2>"$BATS_FILE_TMPDIR/openssl.err" || { cat "$BATS_FILE_TMPDIR/openssl.err" >&2 && return 1; }
}

teardown() {
    sqlsim_stop
}

@test "the dissector sees what is wrong in a capture file" {
    SQLSIM_OPTIONS=(--pcap "$BATS_TEST_TMPDIR/run.pcap")
    simulate good
    run client timeout=1 -- batch "$QUORUM"
    assert_success
    run "$BATS_TEST_DIRNAME/../witness/dissect" "$BATS_TEST_TMPDIR/run.pcap" "$(sqlsim_port SQL1)"
    assert_success
    refute_line --partial wrong
    assert_line 'messages of type 1: 1'
    # One seed of several is enough: a byte that is altered need not be one that means something.
    for seed in 1 2 3 4 5 6; do
        sqlsim_ctl set garble "$seed"
        client timeout=1 -- batch "$QUORUM" || true
    done
    run "$BATS_TEST_DIRNAME/../witness/dissect" "$BATS_TEST_TMPDIR/run.pcap" "$(sqlsim_port SQL1)"
    assert_line --partial wrong
    assert_equal "$(stat -c %a "$BATS_TEST_TMPDIR/run.pcap")" 600
}
