#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrowctl recover: what the recovery key opens when nothing is left but copies of files.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load lib/chain.bash

FIRST="correct horse battery staple"
SECOND="naïve 'Pa\$\$w0rd'; --"

# Leaves a log with two versions behind, each under a roster of its own, and nothing that runs.
setup_file() {
    chain_folder "$BATS_FILE_TMPDIR"
    chain_serve 2 <<<"$FIRST"
    chain_deposit <<<"$FIRST"
    publish_more
    chain_deposit <<<"$SECOND"
    chain_end
    cp -r "$CHAIN/audit" "$BATS_FILE_TMPDIR/audit"
}

# A newer roster, and approvals without one.
publish_more() {
    ctl_offline roster remove-key --key "$CHAIN/keys/authority" --roster "$CHAIN/docs/roster" \
        spiffe://test/auditor && ctl publish "$CHAIN/docs/roster" && ctl publish "$CHAIN/docs/host"
}

setup() {
    CHAIN_NODES=(sql1 sql2)
    cp -r "$BATS_FILE_TMPDIR/audit" "$BATS_TEST_TMPDIR/audit"
    cd "$BATS_TEST_TMPDIR/audit" || return
    SEGMENT=$(ls)
}

teardown() {
    chain_end
}

# recover [OPTION...]: of $DATABASE; the password goes into the file "password"
recover() {
    : >password
    ctl_offline recover --key "$CHAIN/keys/recovery" --folder "$BATS_TEST_TMPDIR/audit" \
        --group ssis --database "${DATABASE:-SSISDB}" --out-fd 3 "$@" 3>password
}

# rechain: makes every line follow the one before it again
rechain() {
    local previous line
    previous=$(printf '0%.0s' {1..64})
    while IFS= read -r line; do
        line=$(jq -cS --arg previous "$previous" '.previous = $previous' <<<"$line")
        previous=$(printf '%s\n' "$line" | sha256sum | cut -d ' ' -f 1)
        printf '%s\n' "$line"
    done <"$SEGMENT" >rechained
    mv rechained "$SEGMENT"
}

# on_terminal COMMAND...: with a terminal as its input and output
on_terminal() {
    python3 -c 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' \
        "$@" </dev/null
}

@test "the newest version, and an older one" {
    run -0 recover --authority "$CHAIN/keys/authority.pub"
    assert_equal "$(cat password)" "$SECOND"
    assert_line --regexp '^escrowctl: record [0-9]+: version 1 \(active\), deposited 20.*Z by spiffe://test/admin$'
    assert_line --regexp '^escrowctl: record [0-9]+: version 2 \(active\), deposited 20.*Z by spiffe://test/admin$'
    refute_output --partial "Pa\$\$w0rd"
    run -0 recover --version 1 --authority "$CHAIN/keys/authority.pub"
    assert_equal "$(cat password)" "$FIRST"
}

@test "what is recovered can be deposited" {
    recover --version 2
    cp password ../password
    chain_swtpm && chain_sqlsim <<<"$SECOND" && chain_escrowd && chain_person admin
    chain_deposit <../password
    cp -r "$CHAIN/audit/." .
    run -0 recover --version 3
    assert_equal "$(cat password)" "$SECOND"
}

@test "the policy authority is the one that is given, or it is named" {
    run -0 recover
    assert_line --regexp "^escrowctl: without --authority: the log's own policy authority is believed, 000b[0-9a-f]{64}$"
    "$CHAIN_CERTS" key authority "$BATS_TEST_TMPDIR/other"
    run -10 recover --authority "$BATS_TEST_TMPDIR/other.pub"
    assert_output --partial "is not signed by the policy authority"
    assert_equal "$(cat password)" ""
}

@test "what the log does not hold" {
    run -6 recover --version 3
    assert_output --partial "the log holds no such version of ssis/SSISDB"
    DATABASE=master run -6 recover
    run -2 recover --version 0
    mkdir "$BATS_TEST_TMPDIR/empty"
    run -6 ctl_offline recover --key "$CHAIN/keys/recovery" --folder "$BATS_TEST_TMPDIR/empty" \
        --group ssis --database SSISDB --out-fd 1
    assert_output --partial "the log holds no active version of ssis/SSISDB"
}

@test "another recovery key" {
    "$CHAIN_CERTS" key recovery "$BATS_TEST_TMPDIR/other"
    run -6 ctl_offline recover --key "$BATS_TEST_TMPDIR/other" --folder . --group ssis \
        --database SSISDB --out-fd 1
    assert_output --partial "version 2 was not wrapped to this recovery key"
}

@test "a terminal gets it only if it may" {
    run -2 on_terminal "$BUILD/client/escrowctl" recover --key "$CHAIN/keys/recovery" --folder . \
        --group ssis --database SSISDB --out-fd 1
    assert_output --partial "--out-fd 1 is a terminal"
    refute_output --partial "Pa\$\$w0rd"
    run -0 on_terminal "$BUILD/client/escrowctl" recover --key "$CHAIN/keys/recovery" --folder . \
        --group ssis --database SSISDB --out-fd 1 --to-terminal
    assert_output --partial "$SECOND"
}

@test "a descriptor that is not open" {
    run -2 ctl_offline recover --key "$CHAIN/keys/recovery" --folder . --group ssis \
        --database SSISDB --out-fd 77
    assert_output --partial "--out-fd 77: it is not open"
}

@test "behind a break of the chain nothing is looked at, and it is said" {
    number=$(jq -c 'select(.event == "deposit") | .sequence' "$SEGMENT" | tail -n 1)
    sed -i "${number}s/\"actor\":\"spiffe/\"actor\":\"Spiffe/; $((number + 1))q" "$SEGMENT"
    run -0 recover
    assert_output --partial "newer versions may be missing"
    # The record itself is whole in its form: only the next one tells.
    assert_equal "$(cat password)" "$SECOND"

    sed -i "$((number - 1))s/\"actor\":\"spiffe/\"actor\":\"Spiffe/" "$SEGMENT"
    run -0 recover
    assert_output --partial "newer versions may be missing"
    assert_equal "$(cat password)" "$FIRST"
}

@test "a deposit that nobody signed" {
    other=$(jq -r 'select(.event == "deposit") | .act' "$SEGMENT" | head -n 1)
    jq -cS --arg signature "${other##*.}" 'if .event == "deposit" and .versions == [2]
        then .act |= sub("[^.]*$"; $signature) else . end' "$SEGMENT" >forged
    mv forged "$SEGMENT"
    rechain
    run -0 ctl_offline audit show --folder .
    run -10 recover
    assert_output --partial "its act is not what it must be (crypto)"
    assert_equal "$(cat password)" ""
}

@test "a deposit under no roster" {
    jq -cS 'select(.event != "publish")' "$SEGMENT" >unpublished
    jq -cS '.sequence = input_line_number' unpublished >"$SEGMENT"
    rechain
    run -0 ctl_offline audit show --folder .
    run -4 recover
    assert_output --partial "its act is not what it must be (malformed)"
}

@test "a deposit in the place of another" {
    other=$(jq -r 'select(.event == "deposit") | .act' "$SEGMENT" | head -n 1)
    jq -cS --arg act "$other" 'if .event == "deposit" then .act = $act | .database = "Other" else . end' \
        "$SEGMENT" >forged
    mv forged "$SEGMENT"
    rechain
    DATABASE=Other run -4 recover
    assert_output --partial "its act is not what it must be (malformed)"
}

@test "the auth values of the member's TPM" {
    run -0 ctl_offline recover tpm-auth --key "$CHAIN/keys/recovery" \
        --file "$CHAIN/escrowd/recovery.json" --out-fd 3 3>auths
    assert_output ""
    run -0 cat auths
    assert_line --index 0 --regexp '^owner hex:[0-9a-f]{64}$'
    assert_line --index 1 --regexp '^lockout hex:[0-9a-f]{64}$'
    owner=${lines[0]#owner } lockout=${lines[1]#lockout }

    chain_swtpm
    export TPM2TOOLS_TCTI="swtpm:path=$CHAIN/tpm/sock"
    run ! tpm2_changeauth -c owner -p hex:00 "$owner"
    run -0 tpm2_changeauth -c owner -p "$owner" "$owner"
    run -0 tpm2_changeauth -c lockout -p "$lockout" "$lockout"
}

@test "a recovery file of another escrow, or none" {
    "$CHAIN_CERTS" key recovery "$BATS_TEST_TMPDIR/other"
    run -10 ctl_offline recover tpm-auth --key "$BATS_TEST_TMPDIR/other" \
        --file "$CHAIN/escrowd/recovery.json" --out-fd 1
    assert_output --partial "is not a member's recovery.json, or not for this recovery key"
    run -6 ctl_offline recover tpm-auth --key "$CHAIN/keys/recovery" --file none --out-fd 1
    assert_output --partial "none: there is no such file"
    run -2 ctl_offline recover tpm-auth --key "$CHAIN/keys/recovery" --out-fd 1
}
