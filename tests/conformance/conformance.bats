#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The conformance suite: sqlsim is held to every row; a model that lies is seen; what is made on a
# server is removed again. With ESCROW_TEST_MSSQL a real server is held to the rows too.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load ../integration/sql

CONFORMANCE=$BATS_TEST_DIRNAME/run

setup_file() {
    {
        make_ca ca
        make_certificate server localhost 30
    } 2>"$BATS_FILE_TMPDIR/openssl.err"
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    for role in agent prober; do
        "$BUILD/client/escrowctl" sql-grants --role "$role" --login "test-$role" --database scratch >"$role.sql"
    done
    printf 'pw-sa\n' >password
}

# Rows send what no server understands, so that sqlsim_stop would fail.
teardown() {
    [ -z "${SQLSIM_PID:-}" ] || { sqlsim_ctl quit && wait "$SQLSIM_PID"; }
}

# model VERSION CLUSTER [SWITCH=VALUE...]: a group in which each kind of replica is to be found; the logins
# have the rights that sql-grants prints. Writes server.yaml.
model() {
    local version=$1 cluster=$2
    shift 2
    sqlsim_start < <(jq -n --arg version "$version.0.4165.4" --arg cluster "$cluster" --arg dir "$BATS_FILE_TMPDIR" \
        --argjson switches "$(switches "$@")" --argjson agent "$(login agent "$version")" \
        --argjson prober "$(login prober "$version")" '
        {group: {cluster_type: $cluster}, database: {name: "scratch", master_key_passwords: ["Key-1 password"]},
         switches: $switches,
         instances: [{name: "SQL1", readable: "no"}, {name: "SQL2", readable: "no"},
                     {name: "SQL3", readable: "read_only"}, {name: "SQL4", readable: "all"}],
         logins: [{name: "sa", password: "pw-sa", rights: ["sysadmin"]}, $agent, $prober,
                  {name: "test-nobody", password: "pw-nobody"},
                  {name: "test-disabled", password: "pw-disabled", disabled: true},
                  {name: "test-must_change", password: "pw-must_change", must_change: true}]}
        | .instances[] += {$version, certificate: "\($dir)/server.pem", key: "\($dir)/server.key"}' |
        jq "${LIE:-.}")
    description "$cluster" "$(switches "$@")" >server.yaml
}

# switches SWITCH=VALUE...: as an object
switches() {
    printf '%s\n' "$@" | jq -R 'select(. != "") | split("=") | {(.[0]): .[1]}' | jq -s 'add // {}'
}

# login ROLE VERSION
login() {
    rights "$1" "$2" | jq -R . |
        jq -s --arg role "$1" --arg sid "$(sid "$1")" '{name: "test-\($role)", password: "pw-\($role)", $sid, rights: .}'
}

# description CLUSTER SWITCHES: of the model, whose database and logins stand already (YAML holds JSON)
description() {
    jq -n --arg cluster "$1" --argjson switches "$2" --argjson ports "$(jq .ports <<<"$SQLSIM_READY")" \
        --arg ca "$BATS_FILE_TMPDIR/ca.pem" '
        def instance($name): {host: "127.0.0.1", port: $ports[$name], tls_name: "localhost", ca_file: $ca};
        instance("SQL1") + {
            login: "sa", password_file: "password", $switches,
            prepared: {database: "scratch", password: "Key-1 password",
                logins: (["agent", "prober", "nobody", "disabled", "must_change"]
                    | map({(.): {name: "test-\(.)", password: "pw-\(.)"}}) | add)},
            group: {name: "AG1", database: "scratch", cluster_type: $cluster, replicas: [
                instance("SQL2") + {as: "unreadable"}, instance("SQL3") + {as: "read_intent"},
                instance("SQL4") + {as: "readable"}]}}'
}

# conformance [OPTION...]
conformance() {
    timeout 120 "$CONFORMANCE" server.yaml "$@" 3>&-
}

# What sqlsim is held to.
# Both values of every switch, each version, each kind of cluster.
@test "sqlsim is the same in every row: version 16, every switch as it is by default" {
    model 16 WSFC signbycert_failure=null close_unopened=15315 duplicate_password=15579 \
        login_database_errors=all password_policy=false
    run conformance
    assert_success
    assert_output --partial " 0 different, "
}

@test "sqlsim is the same in every row: version 15, the other values" {
    model 15 EXTERNAL signbycert_failure=15581 close_unopened=ok duplicate_password=15557 \
        login_database_errors=4060 password_policy=true
    run conformance
    assert_success
    assert_output --partial " 0 different, "
    assert_output --partial "Not run, is for version 16 and later"
}

@test "sqlsim is the same in every row: versions 14 and 17" {
    model 14 NONE duplicate_password=ok
    sqlsim_ctl set password_max 256
    run conformance
    assert_success
    assert_output --partial "password_max: more"
    sqlsim_ctl quit && wait "$SQLSIM_PID"
    model 17 WSFC
    run conformance
    assert_success
}

@test "every row can fail: each way in which its answers can differ is seen" {
    model 16 WSFC
    conformance --json >report.json
    run "$BATS_TEST_DIRNAME/test_rows.py" <report.json
    assert_success
    assert [ "$(grep -c '^ok ' <<<"$output")" -ge 80 ]
}

@test "a replica that is RESOLVING refuses its database" {
    model 16 WSFC
    sqlsim_ctl set resolving_ms 3600000
    sqlsim_ctl failover SQL2
    jq '.group.replicas[0].as = "resolving"' server.yaml >resolving.yaml
    run -0 "$CONFORMANCE" resolving.yaml --only group-resolving 3>&-
    assert_output --partial "1 the same, 0 different"
}

@test "a model that lies is seen: another role" {
    model 16 WSFC
    sqlsim_ctl set SQL1.role SECONDARY
    run -1 conformance --only group-local --only group-quorum
    assert_output --partial "DIFFERENT  group-local: "
    assert_output --partial 'expected: [role tinyint, updateability nvarchar] [[1, "READ_WRITE"]]'
    assert_output --partial 'got:      [role tinyint, updateability nvarchar] [[2, "READ_WRITE"]]'
    refute_output --partial "DIFFERENT  group-quorum"
    assert_output --partial "1 different"
}

@test "a model that lies is seen: a right too many, a right too few, a key that is missing" {
    LIE='(.logins[] | select(.name == "test-prober") | .rights) += ["CONTROL"]' model 16 WSFC
    run -1 conformance --only right-prober-open --only right-prober-control
    assert_output --partial "3 rows: 0 the same, 3 different"
    assert_output --partial "got:      error 15313, class 16"
    sqlsim_ctl quit && wait "$SQLSIM_PID"
    LIE='(.logins[] | select(.name == "test-agent") | .rights) -= ["VIEW ANY DEFINITION"]' model 16 WSFC
    run -1 conformance --only right-agent-definition
    sqlsim_ctl quit && wait "$SQLSIM_PID"
    LIE='.database.master_key = false' model 16 WSFC
    run -1 conformance --only key-open-wrong-password
    assert_output --partial "got:      error 15151, class 16"
}

@test "a switch that is not set as the description says is seen" {
    model 16 WSFC login_database_errors=all
    run -0 conformance --only login-database --only group-unreadable-login
    assert_output --partial "login_database_errors: all"
    sqlsim_ctl set login_database_errors 4060
    run -1 conformance --only login-database --only group-unreadable-login
    assert_output --partial "login_database_errors: another behaviour"
    jq 'del(.switches)' server.yaml >other.yaml
    mv other.yaml server.yaml
    run -0 conformance --only login-database --only group-unreadable-login
    assert_output --partial "login_database_errors: 4060"
}

@test "the report as JSON: complete, and without names and passwords" {
    model 16 WSFC
    sqlsim_ctl set SQL1.role RESOLVING
    run -1 conformance --json --only group- --only identity --only login-disabled
    assert_equal "$(jq -c '[.format, .count.different]' <<<"$output")" "[1,2]"
    jq -e '.server.product_version == "16.0.4165.4"' <<<"$output"
    jq -e '.rows[] | select(.id == "group-local") | .verdict == "different" and .source != ""
        and .steps[0].expected[0].answer.rows == [[1, "READ_WRITE"]] and .steps[0].got.rows[0][0] == 0' <<<"$output"
    jq -e '.rows[] | select(.id == "identity") | .steps[0].got.rows[0] | .[0] == "<server>" and .[2] == "<nobody>"' <<<"$output"
    for word in SQL1 SQL2 SQL3 test- pw- "Key-1 password" 127.0.0.1; do
        refute_output --partial "$word"
    done
}

@test "rows that need a group are not run without one, and that is said" {
    model 16 WSFC
    jq 'del(.group)' server.yaml >alone.yaml
    run -0 "$CONFORMANCE" alone.yaml --only group- 3>&-
    assert_output --partial "Not run, needs an availability group"
    assert_output --partial "2 the same, 0 different, 10 not run"
}

@test "at least 80 rows, each with a source; what is wrong is refused" {
    run -0 "$CONFORMANCE" --list
    [ "$(grep -c '\[..*\]$' <<<"$output")" -ge 80 ]
    model 16 WSFC
    run -2 conformance --only no-such-row
    jq '.host = 7 | .surprise = 1' server.yaml >wrong.yaml
    run -2 "$CONFORMANCE" wrong.yaml 3>&-
    assert_output --partial "unknown key surprise"
    printf 'wrong\n' >password
    run -2 conformance --only identity
    assert_output --partial "error 18456"
    run -2 "$CONFORMANCE" server.yaml --clean "'; DROP" 3>&-
    assert_output --partial "suffix"
}

@test "a certificate of another name or CA gets no login" {
    model 16 WSFC
    jq '.tls_name = "other.example"' server.yaml >other.yaml
    run -2 "$CONFORMANCE" other.yaml --only identity 3>&-
    make_ca stranger 2>openssl.err
    jq --arg ca "$BATS_FILE_TMPDIR/stranger.pem" '.ca_file = $ca' server.yaml >stranger.yaml
    run -2 "$CONFORMANCE" stranger.yaml --only identity 3>&-
    assert_equal "$(sqlsim_ctl state | jq .instances.SQL1.statements)" 0
}

@test "what a run makes on a server is announced, and removed whatever fails" {
    run -0 "$BATS_TEST_DIRNAME/test_fixture.py" "$BUILD/client/escrowctl"
    refute_output --partial "not ok"
}

@test "a real server is the same in every row" {
    [ -n "${ESCROW_TEST_MSSQL:-}" ] || skip "ESCROW_TEST_MSSQL names no server"
    run -0 "$CONFORMANCE" --yes --escrowctl "$BUILD/client/escrowctl" 3>&-
}
