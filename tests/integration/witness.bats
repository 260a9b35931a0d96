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

# modules: npm's packages below $WITNESS, as the lock file names them; made once for each build. Where
# no registry can be reached the test is skipped.
modules() {
    WITNESS=$BUILD/witness
    mkdir -p "$WITNESS"
    if ! cmp -s "$BATS_TEST_DIRNAME/../witness/package-lock.json" "$WITNESS/installed"; then
        cp "$BATS_TEST_DIRNAME"/../witness/package{,-lock}.json "$WITNESS"
        if ! (cd "$WITNESS" && npm ci --ignore-scripts --no-audit --no-fund) >"$WITNESS/npm.log" 2>&1; then
            if grep -E 'ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH' "$WITNESS/npm.log"; then
                skip "npm's registry cannot be reached"
            fi
            cat "$WITNESS/npm.log"
            return 1
        fi
        cp "$WITNESS/package-lock.json" "$WITNESS/installed"
    fi
    cp "$BATS_TEST_DIRNAME"/../witness/*.js "$WITNESS"
}

teardown() {
    sqlsim_stop
}

texts() {
    "$BUILD/tests/tools/tsql_texts"
}

@test "every T-SQL text of ours is one that a T-SQL parser takes" {
    modules
    texts >"$BATS_TEST_TMPDIR/texts"
    run node "$WITNESS/parse_tsql.js" <"$BATS_TEST_TMPDIR/texts"
    assert_success
    assert_equal "${#lines[@]}" "$(wc -l <"$BATS_TEST_TMPDIR/texts")"
    run jq -r '.errors[]' <<<"$output"
    assert_output ''
    # And it is one that can say no.
    run node "$WITNESS/parse_tsql.js" <<<'{"function": "none", "sample": "", "text": "OPEN MASTER KEY DECRYPTION BY PASSWORD = @p"}'
    assert_output --partial 'expecting STRING'
}

@test "all T-SQL is built in one place, and none of it is missing above" {
    local root=$BATS_TEST_DIRNAME/../..
    run diff <(texts | jq -r .function | sort -u) \
        <(sed -n -E 's/^(MUST_CHECK )?[a-z_ ]+[ *](tsql_[a-z_]+)\(.*/\2/p' "$root"/libescrow/tsql*.h |
            grep -v -E '^tsql_(quote|grants$)' | cat - <(echo tsql_grants) | sort -u)
    assert_success
    # What only T-SQL has, in a text of another source file; and a text in a call that sends one.
    run grep -rnE --include='*.c' --include='*.h' \
        '"[^"]*(\bsys\.[a-z]|DECRYPTION BY|SIGNBYCERT|CERT_ID|SERVERPROPERTY|DATABASEPROPERTYEX|@@[A-Z]|sp_[a-z]|N'\''|USE [[%])' \
        "$root"/{libescrow,client,escrowd} --exclude='tsql*.c'
    assert_output ''
    run grep -rnE --include='*.c' 'sql_batch(_secret)?\([^;]*"' "$root"/{libescrow,client,escrowd}
    assert_output ''
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
