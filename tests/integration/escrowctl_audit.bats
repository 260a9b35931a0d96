#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrowctl audit show: the log of an escrowd that runs, over the network and from a copy of its
# folder, and what is said of one that somebody has altered.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load lib/chain.bash

# Leaves a log behind, and nothing that runs.
setup_file() {
    chain_folder "$BATS_FILE_TMPDIR"
    chain_serve 2 <<<"S3cret"
    chain_deposit <<<"S3cret"
    chain_end
    cp -r "$CHAIN/audit" "$BATS_FILE_TMPDIR/audit"
}

setup() {
    CHAIN_NODES=(sql1 sql2)
    cp -r "$BATS_FILE_TMPDIR/audit" "$BATS_TEST_TMPDIR/audit"
    cd "$BATS_TEST_TMPDIR/audit" || return
    SEGMENT=$(ls)
    # Its record is one of an admin; what else is before it is escrowd's business.
    PUBLISH=$(jq -r 'select(.event == "publish") | .sequence' "$SEGMENT")
}

teardown() {
    chain_end
}

# serve: the escrowd of that log, with which it goes on
serve() {
    chain_swtpm && chain_sqlsim <<<"S3cret" && chain_escrowd && chain_person admin && chain_person auditor
}

# show [OPTION...]: of the copy
show() {
    ctl_offline audit show --folder "$BATS_TEST_TMPDIR/audit" "$@"
}

@test "a table of who did what" {
    serve
    run -0 ctl audit show
    assert_line --index 0 --regexp '^SEQUENCE +TIME +EVENT +GROUP +DATABASE +REPLICA +EPOCH +DECISION +REASON +ABOUT +ACTOR$'
    assert_line --regexp '^[0-9]+ +20[0-9T:.-]+Z  publish .* spiffe://test/admin$'
    assert_line --regexp '^[0-9]+ +20[0-9T:.-]+Z  deposit +ssis +SSISDB .* spiffe://test/admin$'
    assert_line --regexp '^[0-9]+ +20[0-9T:.-]+Z  start '
    assert_line --regexp "^records 1 to [0-9]+: each follows the one before it; SHA-256 of the last: $(tail -n 1 "$CHAIN/audit/$SEGMENT" | sha256sum | cut -d ' ' -f 1)$"
}

@test "as JSON, the lines as they are, from the beginning or a sequence on" {
    serve
    run -0 --separate-stderr ctl --output json audit show
    assert_equal "$output" "$(cat "$CHAIN/audit/$SEGMENT")"
    run -0 --separate-stderr ctl --output json audit show --from 2
    assert_equal "$output" "$(tail -n +2 "$CHAIN/audit/$SEGMENT")"
    run -0 --separate-stderr show --output json
    assert_equal "$output" "$(cat "$SEGMENT")"
    run -0 --separate-stderr show --output json --from 2
    assert_equal "$output" "$(tail -n +2 "$SEGMENT")"
    run -0 show --from 2
    assert_line "what came before was not looked at"
    run -0 show --from 1000
    assert_output "no records from 1000 on"
}

@test "an auditor may, an agent may not" {
    serve
    chain_person sql1
    sed -i "s|/sql1.pem|/agent-sql1.pem|; s|/sql1.key|/agent-sql1.key|" "$CHAIN/sql1.yaml"
    run -0 --separate-stderr ctl_offline --config "$CHAIN/auditor.yaml" --output json audit show
    assert_equal "$output" "$(cat "$CHAIN/audit/$SEGMENT")"
    run -5 ctl_offline --config "$CHAIN/sql1.yaml" audit show
    assert_output --partial "role_not_allowed"
}

@test "where the chain breaks" {
    cp "$SEGMENT" whole
    sed -i "$PUBLISH"'s/"actor":"spiffe:..test.admin"/"actor":"spiffe:\/\/test\/adnim"/' "$SEGMENT"
    run -4 show
    assert_line --regexp "^$PUBLISH .* spiffe://test/adnim\$"
    assert_output --partial "the record after $PUBLISH is wrong (chain)"
    refute_output --partial "each follows"

    sed 2d whole >"$SEGMENT"
    run -4 show
    assert_output --partial "the record after 1 is wrong (sequence)"

    sed '2s/,/, /' whole >"$SEGMENT"
    run -4 show
    assert_output --partial "the record after 1 is wrong (form)"
}

# lie FILE: an escrowd that hands out these lines
lie() {
    spawn liar "$BATS_TEST_DIRNAME/audit_server.py" "$CHAIN/pki/escrowd-e1.pem" "$CHAIN/pki/escrowd-e1.key" \
        "$CHAIN/ca/ca.pem" "$1"
    wait_log liar '^port '
    CHAIN_PORT=$(tail -n 1 "$CHAIN/log/liar" | cut -d ' ' -f 2)
    chain_person admin
}

@test "an escrowd that lies" {
    cp "$SEGMENT" told
    lie "$PWD/told"
    run -0 --separate-stderr ctl --output json audit show
    assert_equal "$output" "$(cat "$SEGMENT")"

    sed -i "$PUBLISH"'s/"actor":"spiffe:..test.admin"/"actor":"spiffe:\/\/test\/adnim"/' told
    run -4 ctl audit show
    assert_output --partial "the record after $PUBLISH is wrong (chain)"

    sed 2d "$SEGMENT" >told
    run -4 ctl audit show
    assert_output --partial "the record after 1 is wrong (sequence)"

    # Only a reading that starts later believes its first line about the one before.
    sed '1s/"previous":"0/"previous":"1/' "$SEGMENT" >told
    run -4 ctl audit show
    assert_output --partial "the record after 0 is wrong (chain)"

    head -c -1 "$SEGMENT" >told
    run -4 ctl audit show
    assert_output --partial "is wrong (form)"
}

@test "a last line that was never finished is not part of the log" {
    cp "$SEGMENT" whole
    printf '{"act":nu' >>"$SEGMENT"
    run -0 --separate-stderr show --output json
    assert_equal "$output" "$(cat whole)"
    assert_regex "$stderr" "its last 9 bytes are no record: the writing did not end"
}

@test "an actor that would move the cursor" {
    head -n 1 "$SEGMENT" | jq -cS '.actor = "a\u001b[2Jb\u009b2J"' | sed 's/u001b/u001B/' >line
    mv line "$SEGMENT"
    run -0 show
    assert_line --index 1 --regexp ' a\?\[2Jb\?2J$'
}

@test "which escrowd" {
    serve
    run -0 ctl audit show --escrowd 127.0.0.1
    run -0 ctl audit show --escrowd spiffe://test/escrowd/e1
    run -2 ctl audit show --escrowd e2.test
    {
        head -n 1 "$CHAIN/admin.yaml"
        printf '  - %s: %s\n    port: 1\n    server_id: spiffe://test/escrowd/e2\n    ca_file: /dev/null\n' address e2.test
        tail -n +2 "$CHAIN/admin.yaml"
    } >two.yaml
    run -2 ctl_offline --config two.yaml audit show
    assert_output --partial "say which by --escrowd"
    run -0 ctl_offline --config two.yaml audit show --escrowd 127.0.0.1
}

@test "what is wrong with the command" {
    run -2 show --from 0
    run -2 show --escrowd 127.0.0.1
    run -12 ctl_offline audit show --folder none
}
