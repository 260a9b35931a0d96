#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Answers of a SQL Server that are no TDS, through the real driver: each question of a prober has its
# answer in time, each batch of a worker ends in an error or in a result. FreeTDS 1.3.17 asserts that
# a server sends no column type that it does not know, which ends the process that asks: whoever waits
# for it learns so at once, as of any death of it. A sample of seeds; all with ESCROW_TEST_ALL=1.

bats_load_library bats-support
bats_load_library bats-assert
load sql

NONCE=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
SEEDS=100

setup_file() {
    {
        make_ca ca
        make_certificate good sql1.test.invalid 30
    } 2>"$BATS_FILE_TMPDIR/openssl.err"
}

teardown() {
    # What it is sent is still right: sqlsim_stop fails on a statement that it does not know.
    sqlsim_stop
}

# seeds COUNT: so many of them, or all
seeds() {
    local first count=$1
    first=$(($(date +%s) % SEEDS))
    if [ "${ESCROW_TEST_ALL:-0}" = 1 ]; then
        first=0 count=$SEEDS
    else
        echo "# sampled $count of $SEEDS (seed $first)" >&3
    fi
    for ((i = 0; i < count; i++)); do
        printf '%d\n' $((1 + (first + i * 7) % SEEDS))
    done
}

# ends_well SEED: the last command ended in time, and not by what a sanitizer found; false if it was
# ended by the driver's assertion
ends_well() {
    if [[ $output == *Sanitizer* || $output == *"runtime error"* ]] || [ "$status" = 124 ]; then
        fail "garble $1: exit status $status: $output"
    fi
    [[ $output != *"odbc_data.c"*"Assertion"* ]]
}

@test "a prober answers every question, whatever the server answers" {
    simulate good
    printf 'pw-prober\n' >"$BATS_TEST_TMPDIR/password"
    for seed in $(seeds 5); do
        sqlsim_ctl set garble "$seed" >"$BATS_TEST_TMPDIR/set"
        run timeout 30 "$BUILD/tests/integration/sql_client" port="$(sqlsim_port SQL1)" \
            tls_name=sql1.test.invalid ca="$BATS_FILE_TMPDIR/ca.pem" login=prober \
            password="$BATS_TEST_TMPDIR/password" timeout=1 -- state local session "$NONCE" agent opens
        if ! ends_well "$seed"; then
            assert_line --regexp '^prober: unavailable, exit'
            continue
        fi
        [ "$(grep -cE '^outcome=[1-7] sql_error=' <<<"$output")" = 2 ] || fail "garble $seed: $output"
        assert_line --regexp '^outcome=[1-7] found=[01]$'
        assert_line --regexp '^opens=[0-3] sql_error='
    done
    sqlsim_ctl set garble 0
    run client login=prober -- state
    assert_output --partial "outcome=1 sql_error=0 server=SQL1"
}

@test "a worker's batches end in an error or in a result, whatever the server answers" {
    simulate good
    printf "S3cret 'pass' ä" >"$BATS_TEST_TMPDIR/dmk"
    for seed in $(seeds 5); do
        sqlsim_ctl set garble "$seed" >"$BATS_TEST_TMPDIR/set"
        run timeout 30 "$BUILD/tests/integration/sql_client" port="$(sqlsim_port SQL1)" \
            tls_name=sql1.test.invalid ca="$BATS_FILE_TMPDIR/ca.pem" login=agent \
            password="$BATS_TEST_TMPDIR/password" timeout=1 -- \
            batch "$QUORUM" open "$BATS_TEST_TMPDIR/dmk" batch "$QUORUM"
        ends_well "$seed" || continue
        [ "$(grep -cE '^(ok|[a-z_]+ -?[0-9]+ \[)' <<<"$output")" = 3 ] || fail "garble $seed: $output"
        refute_output --partial "S3cret 'pass'"
    done
}
