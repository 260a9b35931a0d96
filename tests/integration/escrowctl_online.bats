#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrowctl against a real escrowd with a TPM (swtpm): publish, deposit, list, status, and whom it
# does not believe.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file

PASSWORD="Geheim 'ü' 1"

setup() {
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
    chain_prepare 2
    chain_sqlsim <<<"$PASSWORD"
    chain_member || { cat "$CHAIN/log/member" >&2; false; }
    chain_escrowd
    chain_person admin
    chain_person auditor
}

teardown() {
    chain_teardown
}

auditor() {
    "$BUILD/client/escrowctl" --config "$CHAIN/auditor.yaml" "$@"
}

# events NAME: how many records of it there are.
events() {
    cat "$CHAIN"/audit/*.jsonl | jq -s --arg name "$1" 'map(select(.event == $name)) | length'
}

@test "an escrowd without a roster takes the first one from an admin in it" {
    run -8 ctl list
    assert_output --partial "no_roster"
    run -0 ctl --output json publish "$CHAIN/docs/roster" "$CHAIN/docs/host" "$CHAIN/docs/node"
    assert_equal "$(jq -c '.published[0] | [.member, .roster, .approvals]' <<<"$output")" \
        '["e1",true,3]'
    # Again: it has that version, the approvals are taken once more.
    run -0 ctl --output json publish "$CHAIN/docs/roster" "$CHAIN/docs/host"
    assert_equal "$(jq -c '.published[0] | [.roster, .approvals]' <<<"$output")" '[false,1]'
    # Approvals alone need no roster file.
    run -0 ctl publish "$CHAIN/docs/node"
}

@test "more approvals than an act has room for are published in several acts" {
    local before
    chain_publish
    before=$(events publish)
    jq '.approvals |= [range(600) as $i | .[$i % length]]' "$CHAIN/docs/node" >"$CHAIN/docs/many"
    run -0 ctl --output json publish "$CHAIN/docs/many" "$CHAIN/docs/host"
    assert_equal "$(jq -c '.published | map([.roster, .approvals])' <<<"$output")" '[[false,601]]'
    assert_equal "$(($(events publish) - before))" 3
    assert_equal "$(cat "$CHAIN"/audit/*.jsonl |
        jq -s 'map(select(.event == "publish"))[-1].sequence')" \
        "$(jq '.published[0].sequence' <<<"$output")"
}

@test "deposit: versions, states, and what list shows of them" {
    chain_publish
    run -0 ctl --output json deposit --group "$CHAIN_GROUP" --database SSISDB --password-fd 3 \
        3<<<"$PASSWORD"
    assert_equal "$(jq -c '.deposits[0] | [.member, .version, .state]' <<<"$output")" \
        '["e1",1,"active"]'
    object=$(jq -r '.deposits[0].object' <<<"$output")
    run -0 ctl --output json deposit --group "$CHAIN_GROUP" --database SSISDB --generate \
        --state pending
    assert_equal "$(jq -c '.deposits[0] | [.version, .state]' <<<"$output")" '[2,"pending"]'
    run -0 auditor --output json list
    assert_equal "$(jq -c '[.secrets[] | [.group, .database, .version, .state]]' <<<"$output")" \
        "[[\"$CHAIN_GROUP\",\"SSISDB\",1,\"active\"],[\"$CHAIN_GROUP\",\"SSISDB\",2,\"pending\"]]"
    assert_equal "$(jq -r '.secrets[0].object' <<<"$output")" "$object"
    run -0 auditor list
    assert_line --partial "OBJECT"
    run ! grep -r -F -- "$PASSWORD" "$CHAIN/escrowd" "$CHAIN/audit" "$CHAIN/log"
}

@test "a generated password is only where it was asked for" {
    chain_publish
    run -0 ctl deposit --group "$CHAIN_GROUP" --database SSISDB --generate --out-fd 4 4>generated
    password=$(cat generated)
    assert_regex "$password" '^[A-Za-z0-9_-]{40}$'
    refute_output --partial "$password"
    run ! grep -r -F -- "$password" "$CHAIN"
    rm generated
}

@test "status says what is there" {
    chain_publish
    run -0 ctl --output json status
    assert_equal "$(jq -c '.escrowds[0] | [.member, .ready, .roster]' <<<"$output")" '["e1",true,3]'
    run -0 ctl status
    assert_line --index 0 'escrowd 127.0.0.1 (e1) is ready'
    assert_line --regexp '^log ends with record [0-9]+ of 20[0-9T:.-]+Z, SHA-256 [0-9a-f]{64}$'
    run -0 ctl pending
    assert_output 'no release waits for admins'
    run -2 ctl approve x
    assert_line --partial "NUMBER is a number from 1 to"
    refute_output --partial '--NUMBER'
}

@test "status: a replica that answers no more is silent, and for how long" {
    chain_publish
    sim hang SQL2 >/dev/null
    wait_log escrowd 'watch: sql2 does not answer the question for its role' 1 60
    run -0 ctl status
    assert_line --regexp '^ssis +SSISDB +sql1 +1 .* sql1 primary, sql2 silent$'
    assert_line --regexp '^  ssis: sql2: has not answered for [0-9]+[.][0-9] s$'
}

@test "refusals have a reason, a sentence and their exit code" {
    chain_publish
    run -6 ctl deposit --group nowhere --database SSISDB --password-fd 3 3<<<"$PASSWORD"
    assert_output --partial "group_unknown: The policy knows no group of this name."
    run -5 auditor deposit --group "$CHAIN_GROUP" --database SSISDB --password-fd 3 3<<<"$PASSWORD"
    assert_output --partial "role_not_allowed"
    # The admin's act key behind the auditor's certificate.
    sed -i "s|^act_key_file: .*|act_key_file: $CHAIN/keys/admin.act|" "$CHAIN/auditor.yaml"
    run -5 auditor deposit --group "$CHAIN_GROUP" --database SSISDB --password-fd 3 3<<<"$PASSWORD"
    assert_output --partial "identity_mismatch"
}

@test "an escrowd that is not the one of the configuration is not spoken to" {
    chain_publish
    sed -i 's|server_id: .*|server_id: spiffe://test/escrowd/e2|' "$CHAIN/admin.yaml"
    run -10 ctl list
    refute_output --partial "SSISDB"
    chain_person admin
    sed -i "s|ca_file: .*|ca_file: $CHAIN/sqlca/ca.pem|; /crl_file/d" "$CHAIN/admin.yaml"
    run -10 ctl list
    chain_person admin
    sed -i "s|port: .*|port: 1|" "$CHAIN/admin.yaml"
    run -8 ctl list
}

@test "an older roster, or another authority's, is not believed" {
    chain_publish
    printf '9\n' >"$CHAIN/run/admin.roster"
    run -5 ctl deposit --group "$CHAIN_GROUP" --database SSISDB --password-fd 3 3<<<"$PASSWORD"
    assert_output --partial "older"
    chain_person admin
    rm "$CHAIN/run/admin.roster"
    ctl_offline authority init "$CHAIN/other"
    sed -i "s|^authority_file: .*|authority_file: $CHAIN/other/authority.pub|" "$CHAIN/admin.yaml"
    run -10 ctl deposit --group "$CHAIN_GROUP" --database SSISDB --password-fd 3 3<<<"$PASSWORD"
    assert_output --partial "authority"
}

@test "a revoked admin is shut out" {
    chain_publish
    "$CHAIN_CERTS" revoke "$CHAIN/ca" "$CHAIN/pki/admin.pem"
    # escrowd reads the list again at SIGHUP.
    kill -HUP "${CHAIN_PIDS["escrowd"]}"
    for _ in {1..100}; do
        ctl list >/dev/null 2>&1 || break
    done
    run ! ctl list
    run -0 auditor list
}
