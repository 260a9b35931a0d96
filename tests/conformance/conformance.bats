#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The conformance suite: sqlsim is held to every row; a model that lies is seen; what is made on a
# server is removed again. With ESCROW_TEST_MSSQL a real server is held to the rows too.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load ../integration/sql

CONFORMANCE=$BATS_TEST_DIRNAME/run
SCRATCH=escrow_conformance_00000000

setup_file() {
    {
        make_ca ca
        make_certificate server localhost 30
    } 2>"$BATS_FILE_TMPDIR/openssl.err"
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    grants agent "$SCRATCH" >agent.sql
    grants prober "$SCRATCH" >prober.sql
    grants agent SSISDB --catalog-startup --sid "$(sid agent)" >agent-catalog.sql
    grants prober SSISDB --sid "$(sid prober)" >prober-catalog.sql
    printf 'pw-sa\n' >password
    printf 'Key-1 password\n' >key-password
    printf 'pw-locked\n' >locked-password
    printf 'pw-expired\n' >expired-password
    printf 'pw-contained\n' >contained-password
}

# Rows send what no server understands, so that sqlsim_stop would fail.
teardown() {
    [ -z "${SQLSIM_PID:-}" ] || { sqlsim_ctl quit && wait "$SQLSIM_PID"; }
}

# grants ROLE DATABASE [OPTION...]: the script that a DBA runs for the login test-ROLE
grants() {
    "$BUILD/client/escrowctl" sql-grants --role "$1" --login "test-$1" --database "$2" "${@:3}"
}

# model VERSION CLUSTER [SWITCH=VALUE...]: a group in which each kind of replica is to be found, and from
# version 16 on a contained one; agent and prober have what the scripts of sql-grants gave them. Writes
# server.yaml.
model() {
    local version=$1 cluster=$2
    shift 2
    sqlsim_start < <(jq -n --arg version "$version.0.4165.4" --arg cluster "$cluster" --arg dir "$BATS_FILE_TMPDIR" \
        --argjson switches "$(switches "$@")" --arg scratch "$SCRATCH" --rawfile agent agent.sql \
        --rawfile prober prober.sql --rawfile agent_catalog agent-catalog.sql \
        --rawfile prober_catalog prober-catalog.sql '
        def script($text; $password): {login: "sa", $text, variables: {ESCROW_LOGIN_PASSWORD: $password}};
        {groups: [{name: "AG1", cluster_type: $cluster, replicas: [{instance: "SQL1", primary_connections: "read_write"}, "SQL2", "SQL3", "SQL4"],
                   databases: [{name: $scratch, master_key_passwords: ["Key-1 password"]}]},
                  {name: "CAG", contained: true, listener: 0, replicas: ["SQL1", "SQL2"], databases: [{name: "Contained"}]},
                  {name: "AG2", replicas: ["SQL1", "SQL2"]}, {name: "AG3", replicas: ["SQL3", "SQL4"]}],
         distributed_groups: [{name: "DAG", groups: ["AG2", "AG3"]}],
         databases: [{name: "SSISDB", instance: "SQL1"}],
         switches: $switches,
         instances: [{name: "SQL1", readable: "no"}, {name: "SQL2", readable: "no"},
                     {name: "SQL3", readable: "read_only"}, {name: "SQL4", readable: "all"}],
         scripts: [script($agent; "pw-agent"), script($prober; "pw-prober"),
                   script($agent_catalog, $prober_catalog; "unused") + {instances: ["SQL1"]}],
         logins: [{name: "sa", password: "pw-sa", rights: ["sysadmin"]}, {name: "test-nobody", password: "pw-nobody"},
                  {name: "test-contained", password: "pw-contained", rights: ["CONNECT"], databases: ["Contained"]},
                  {name: "test-disabled", password: "pw-disabled", disabled: true},
                  {name: "test-must_change", password: "pw-must_change", must_change: true},
                  {name: "test-locked", password: "pw-locked", locked: true},
                  {name: "test-expired", password: "pw-expired", expired: true}]}
        | .instances[] += {$version, certificate: "\($dir)/server.pem", key: "\($dir)/server.key"}' |
        jq "${LIE:-.}")
    description "$cluster" "$(switches "$@")" >server.yaml
}

# switches SWITCH=VALUE...: as an object
switches() {
    printf '%s\n' "$@" | jq -R 'select(. != "") | split("=") | {(.[0]): .[1]}' | jq -s 'add // {}'
}

# as_administrator TEXT: a script that the model runs after those of sql-grants, for LIE
as_administrator() {
    printf '.scripts += [{login: "sa", instances: ["SQL1"], text: %s}]' "$(jq -n --arg text "$1" '$text')"
}

# description CLUSTER SWITCHES: of the model, whose database and logins stand already (YAML holds JSON)
description() {
    jq -n --arg cluster "$1" --argjson switches "$2" --argjson ports "$(jq .ports <<<"$SQLSIM_READY")" \
        --argjson listener "$(jq .listeners.CAG <<<"$SQLSIM_READY")" \
        --arg ca "$BATS_FILE_TMPDIR/ca.pem" --arg scratch "$SCRATCH" '
        def instance($name): {host: "127.0.0.1", port: $ports[$name], tls_name: "localhost", ca_file: $ca};
        instance("SQL1") + {
            login: "sa", password_file: "password", $switches,
            contained: {database: "Contained", unreadable: instance("SQL2"),
                        listener: (instance("SQL1") + {port: $listener})},
            distributed: {name: "DAG", secondary: instance("SQL2")},
            logins: {locked: {name: "test-locked", password_file: "locked-password"},
                     expired: {name: "test-expired", password_file: "expired-password"},
                     contained_user: {name: "test-contained", password_file: "contained-password"}},
            prepared: {database: $scratch, password: "Key-1 password", catalog: "SSISDB",
                logins: (["agent", "prober", "nobody", "disabled", "must_change"]
                    | map({(.): {name: "test-\(.)", password: "pw-\(.)"}}) | add)},
            group: {name: "AG1", database: $scratch, cluster_type: $cluster, primary_connections: "READ_WRITE",
                    master_key_password_file: "key-password", replicas: [
                instance("SQL2") + {as: "unreadable"}, instance("SQL3") + {as: "read_intent"},
                instance("SQL4") + {as: "readable"}]}}'
}

# conformance [OPTION...]
conformance() {
    timeout 120 "$CONFORMANCE" server.yaml "$@" 3>&-
}

# held VERSION CLUSTER SWITCH=VALUE...: sqlsim with these settings is the same in every row; its version
# is noted, and how its switches stood.
held() {
    [ -z "${SQLSIM_PID:-}" ] || { sqlsim_ctl quit && wait "$SQLSIM_PID"; }
    model "$@"
    sqlsim_ctl state | jq -c .switches >>states
    run conformance
    [ "$status" -eq 0 ] || printf 'version %s, %s: %s\n%s\n' "$1" "$2" "${*:3}" "$output" >&2
    assert_success
    assert_output --partial " 0 different, "
}

settings() {
    "$BATS_TEST_DIRNAME/../sqlsim/settings.py" "$BUILD/tests/sqlsim/sqlsim" "$@"
}

@test "sqlsim is the same in every row: each value of each switch, each version, each kind of cluster" {
    local seed=${ESCROW_TEST_SEED:-$(($(date +%s) % 100000))} cases version=16 cluster=WSFC
    mapfile -t cases < <(settings cover "$seed")
    echo "# settings drawn by seed $seed" >&3
    for case in "${cases[@]}"; do
        # shellcheck disable=SC2086 # words
        held "$version" "$cluster" $case
        version=$((version - 1))
        [ "$cluster" = EXTERNAL ] && cluster=NONE || cluster=EXTERNAL
    done
    assert_output --partial "password_max: "
    # shellcheck disable=SC2086 # words
    held 13 WSFC ${cases[1]} language=us_english
    assert_output --partial "columns_2016: present"
    held 13 WSFC
    assert_output --partial "columns_2016: absent"
    held 17 WSFC
    run -0 settings unseen <states
    # And it can say no.
    sed -i 's/"session_kill":"596"/"session_kill":"close"/' states
    run -1 settings unseen <states
    assert_output "session_kill=596"
}

@test "sqlsim is the same in every row: each switch alone, and two at once" {
    local seed=${ESCROW_TEST_SEED:-$(($(date +%s) % 100000))} singles pairs=40 count=2 cases
    mapfile -t singles < <(settings singles)
    if [ "${ESCROW_TEST_ALL:-0}" = 1 ]; then
        mapfile -t cases < <(printf '%s\n' "${singles[@]}" && settings pairs "$pairs" "$seed")
    else
        mapfile -t cases < <(settings pairs "$count" "$seed")
        echo "# sampled $count of $((${#singles[@]} + pairs)) settings (seed $seed)" >&3
    fi
    for case in "${cases[@]}"; do
        # shellcheck disable=SC2086 # words
        held 16 WSFC $case
    done
}

@test "every row can fail: each way in which its answers can differ is seen" {
    model 16 WSFC
    conformance --json >report.json
    run "$BATS_TEST_DIRNAME/test_rows.py" <report.json
    assert_success
    assert [ "$(grep -c '^ok ' <<<"$output")" -ge 80 ]
}

@test "every text that escrowd can send is run by a row, and so is every column that it reads" {
    model 16 WSFC
    conformance --json >report.json
    "$BUILD/tests/tools/tsql_texts" >texts
    "$BUILD/tests/sqlsim/sqlsim" switches >known
    run -0 "$BATS_TEST_DIRNAME/test_texts.py" texts known <report.json
    assert [ "$(grep -c '^ok .* tsql_' <<<"$output")" -ge 12 ]
    # And it can say no: a text that nobody sends, a column that nobody asks for.
    echo '{"function": "tsql_new", "sample": "", "text": "SELECT d.collation_name FROM sys.databases AS d"}' >>texts
    run -1 "$BATS_TEST_DIRNAME/test_texts.py" texts known <report.json
    assert_equal "$(grep '^not ok' <<<"$output" | cut -d ' ' -f 4-)" $'tsql_new: \nsys.databases.collation_name'
}

@test "every message of the model has a row, so that a server is asked for its text" {
    # 41113, 41122: of the control socket only, and cut.
    run comm -23 <(grep -oE '^    \{[0-9]+,' "$BATS_TEST_DIRNAME/../sqlsim/server_error.c" | tr -dc '0-9\n' |
        grep -vxE '41113|41122' | sort -u) <("$CONFORMANCE" --list 2>/dev/null | sed -n 's/^message-\([0-9]*\):.*/\1/p' | sort)
    assert_success
    assert_output ""
}

@test "a replica that is RESOLVING, or without quorum, refuses its database" {
    model 16 WSFC
    sqlsim_ctl set SQL3.quorum lost
    jq '.group.replicas[1].as = "no_quorum"' server.yaml >lost.yaml
    run -0 "$CONFORMANCE" lost.yaml --only group-no-quorum 3>&-
    assert_output --partial "2 the same, 0 different"
    sqlsim_ctl set resolving_ms 3600000
    sqlsim_ctl failover SQL2
    jq '.group.replicas[0].as = "resolving"' server.yaml >resolving.yaml
    run -0 "$CONFORMANCE" resolving.yaml --only group-resolving 3>&-
    assert_output --partial "1 the same, 0 different"
}

@test "a secondary whose primary is down, whatever it says of it" {
    for values in "SECONDARY null" "RESOLVING stale"; do
        model 16 WSFC orphan_role="${values% *}" dead_primary_name="${values#* }"
        jq '. + (.group.replicas[2] | {port}) | .group.replicas[2].as = "orphan"' server.yaml >orphan.yaml
        sqlsim_ctl kill SQL1
        run -0 "$CONFORMANCE" orphan.yaml --only orphan- 3>&-
        assert_output --partial "2 the same, 0 different"
        assert_output --partial "orphan_role: ${values% *}"
        sqlsim_ctl quit && wait "$SQLSIM_PID"
        SQLSIM_PID=
    done
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
    LIE=$(as_administrator "USE [$SCRATCH];
GO
GRANT CONTROL ON DATABASE::[$SCRATCH] TO [test-prober];") model 16 WSFC
    run -1 conformance --only right-prober-open --only right-prober-control
    assert_output --partial "3 rows: 0 the same, 3 different"
    assert_output --partial "got:      error 15313, class 16"
    sqlsim_ctl quit && wait "$SQLSIM_PID"
    LIE=$(as_administrator 'REVOKE VIEW ANY DEFINITION FROM [test-agent];') model 16 WSFC
    run -1 conformance --only right-agent-definition
    sqlsim_ctl quit && wait "$SQLSIM_PID"
    LIE='.groups[0].databases[0].master_key = false' model 16 WSFC
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
    run -1 conformance --json --only group-state --only group-local --only identity --only login-disabled
    assert_equal "$(jq -c '[.format, .count.different]' <<<"$output")" "[1,2]"
    jq -e '.server.product_version == "16.0.4165.4"' <<<"$output"
    jq -e '.rows[] | select(.id == "group-local") | .verdict == "different" and .source != ""
        and .steps[0].expected[0].answer.rows == [[1, "READ_WRITE"]] and .steps[0].got.rows[0][0] == 0' <<<"$output"
    jq -e '.rows[] | select(.id == "identity") | .steps[0].got.rows[0] | .[0] == "<server>" and .[2] == "<nobody>"' <<<"$output"
    for word in SQL1 SQL2 SQL3 test- pw- "Key-1 password" 127.0.0.1; do
        refute_output --partial "$word"
    done
    # Nor a replica's that the description does not have.
    sqlsim_ctl set SQL1.primary_replica SQL4
    jq 'del(.group.replicas)' server.yaml >alone.yaml
    run -1 "$CONFORMANCE" --json alone.yaml --only group-state 3>&-
    assert_output --partial '"<replica '
    refute_output --partial SQL4
}

@test "rows that need a group are not run without one, and that is said" {
    model 16 WSFC
    jq 'del(.group)' server.yaml >alone.yaml
    run -0 "$CONFORMANCE" alone.yaml --only group- 3>&-
    assert_output --partial "Not run, needs an availability group"
    assert_output --partial "3 the same, 0 different, 25 not run"
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

@test "the whole program on a real server: it changes only what it made, and leaves nothing when it is stopped" {
    run -0 "$BATS_TEST_DIRNAME/test_scratch.py" "$BUILD/client/escrowctl"
    refute_output --partial "not ok"
}

@test "a database that is not for it is refused before anything is sent" {
    model 16 WSFC
    for name in SSISDB scratch master escrow_conformance_ escrow_conformance_0000000g "escrow_conformance_00000000]; DROP"; do
        jq --arg name "$name" '.prepared.database = $name' server.yaml >wrong.yaml
        run -2 "$CONFORMANCE" wrong.yaml 3>&-
        assert_output --partial "drop the master key"
    done
    # Without it, it makes its own, which this model cannot: nothing is taken for it, and nothing stays.
    jq 'del(.prepared)' server.yaml >real.yaml
    run -2 "$CONFORMANCE" --yes --escrowctl "$BUILD/client/escrowctl" real.yaml 3>&-
    assert_output --partial "CREATE DATABASE [escrow_conformance_"
    run jq -r '.statements[].statement' <<<"$(sqlsim_ctl log SQL1)"
    assert_line --index 0 --regexp '^CREATE DATABASE \[escrow_conformance_[0-9a-f]{8}\]$'
    refute_line --regexp 'MASTER KEY|SSISDB|00000000'
    # Nobody to ask, nothing done.
    run -2 "$CONFORMANCE" --escrowctl "$BUILD/client/escrowctl" real.yaml 3>&- </dev/null
    assert_output --partial "say --yes"
}

@test "a real server is the same in every row" {
    [ -n "${ESCROW_TEST_MSSQL:-}" ] || skip "ESCROW_TEST_MSSQL names no server"
    run -0 "$CONFORMANCE" --yes --escrowctl "$BUILD/client/escrowctl" 3>&-
}
