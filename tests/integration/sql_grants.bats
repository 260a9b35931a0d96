#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrowctl sql-grants: the logins that its script makes can do what agent and prober ask, and
# without any one of the rights they cannot.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load sql

setup_file() {
    {
        make_ca ca
        make_certificate good sql1.test.invalid 30
    } 2>"$BATS_FILE_TMPDIR/openssl.err"
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    printf "S3cret 'pass' ä" >master-key
    grants agent --catalog-startup
    grants prober
}

teardown() {
    sqlsim_stop
}

# grants ROLE [OPTION...]: into ROLE.sql
grants() {
    local role=$1
    shift
    "$BUILD/client/escrowctl" sql-grants --role "$role" --login "$role" --database SSISDB "$@" >"$role.sql"
}

# group VERSION [BATCH...]: two instances on which both scripts were run, and then on the primary these
# batches in its database
group() {
    local after
    after=$(printf '%s;\nGO\n' 'USE [SSISDB]' "${@:2}")
    simulate good ".instances[1] += (.instances[0] | {certificate, key})
        | .instances[].version = \"$1.0.4165.4\" | .database.probe_certificate = false
        | .logins = [{name: \"sa\", password: \"pw-sa\", rights: [\"sysadmin\"]}]
        | .scripts = [$(script agent), $(script prober),
                      {login: \"sa\", instances: [\"SQL1\"], text: $(jq -n --arg text "$after" '$text')}]"
}

# script ROLE: as sqlsim's configuration has it
script() {
    jq -n --rawfile text "$1.sql" --arg password "pw-$1" \
        '{login: "sa", $text, variables: {ESCROW_LOGIN_PASSWORD: $password}}'
}

# The worker's batches, and what it does after them.
as_agent() {
    printf 'pw-agent\n' >"$BATS_TEST_TMPDIR/password"
    client login=agent -- batch "USE [SSISDB]" open master-key \
        batch "ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY" batch "CLOSE MASTER KEY" \
        batch "EXEC [SSISDB].[catalog].[startup]"
}

# as_prober [NODE]
as_prober() {
    printf 'pw-prober\n' >"$BATS_TEST_TMPDIR/password"
    client port="$(sqlsim_port "${1:-SQL1}")" login=prober -- state opens
}

@test "the rights are enough, before and since SQL Server 2022" {
    for version in 15 16; do
        group "$version"
        run -0 as_agent
        run -0 client login=agent -- local opens
        assert_line --index 0 --partial "outcome=1 "
        assert_line --index 1 "opens=1 sql_error=0"
        run -0 as_prober
        assert_line --index 0 --partial "outcome=1 "
        assert_line --index 1 "opens=1 sql_error=0"
        sqlsim_stop
    done
}

# CONTROL on the database covers CONNECT and the certificate, so those two are the prober's.
@test "each right of the agent is needed" {
    for right in "VIEW SERVER PERFORMANCE STATE" "VIEW ANY DEFINITION"; do
        group 16 "USE [master]" "REVOKE $right FROM [agent]"
        run -0 client login=agent -- local
        refute_output --partial "outcome=1 "
        sqlsim_stop
    done
    for batch in "REVOKE CONTROL ON DATABASE::[SSISDB] FROM [agent]" \
        "ALTER ROLE [ssis_failover_monitoring_agent] DROP MEMBER [agent]"; do
        group 16 "$batch"
        run ! as_agent
        sqlsim_stop
    done
    run rights agent 16
    assert_equal "${#lines[@]}" 6
}

@test "each right of the prober is needed, and it has none on the master key" {
    for right in "VIEW SERVER PERFORMANCE STATE" "VIEW ANY DEFINITION"; do
        group 16 "USE [master]" "REVOKE $right FROM [prober]"
        run -0 as_prober
        refute_line --index 0 --partial "outcome=1 "
        sqlsim_stop
    done
    group 16 "REVOKE CONTROL ON CERTIFICATE::[escrowd_probe] FROM [prober]"
    run -0 as_prober
    refute_line --index 1 --partial "opens=1 "
    run ! client login=prober -- batch "USE [SSISDB]" open master-key
    assert_line --index 0 ok
    assert_line --index 1 --partial "15151"
    sqlsim_stop
    run rights prober 16
    assert_equal "${#lines[@]}" 4
}

@test "the SID of the script lets the login into the database after a failover" {
    group 16
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    run -0 client port="$(sqlsim_port SQL2)" login=agent -- batch "USE [SSISDB]" open master-key
    assert_line --index 1 ok
    sqlsim_stop
}

@test "the script may be run again, and refuses a login or a user with another SID" {
    group 16
    sqlsim_stop
    printf 'pw-sa\n' >"$BATS_TEST_TMPDIR/password"
    cp agent.sql first.sql
    grants agent --sid "$(sid agent)"
    twice ".scripts += [$(script agent)]"
    sqlsim_stop
    # sql-grants was asked again, without --sid: part 1 says so, on the first instance already.
    grants agent
    run ! twice ".scripts += [$(script agent)]"
    assert_output --partial "This login exists here with another SID"
    # A login that has the SID, but the user of its name belongs to another.
    cp first.sql agent.sql
    run ! twice ".scripts = [{login: \"sa\", text: \"CREATE LOGIN [x] WITH PASSWORD = 'x'; EXEC [SSISDB].sys.sp_executesql N'CREATE USER [agent] FOR LOGIN [x];'\",
        instances: [\"SQL1\"]}] + .scripts"
    assert_output --partial "The user of this name belongs to another login (SID)"
}

# twice FILTER: a model on which first.sql is run, and what the filter adds
twice() {
    local again
    again=$(jq -n --rawfile text first.sql '{login: "sa", $text, variables: {ESCROW_LOGIN_PASSWORD: "pw-agent"}}')
    simulate good ".logins = [{name: \"sa\", password: \"pw-sa\", rights: [\"sysadmin\"]}] | .scripts = [$again] | $1"
}

@test "without sqlcmd the script makes nothing, and says why" {
    sed -i '/^:setvar ESCROW_SQLCMD/d' agent.sql
    run ! simulate good ".logins = [{name: \"sa\", password: \"pw-sa\", rights: [\"sysadmin\"]}]
        | .scripts = [$(script agent) | .variables.ESCROW_SQLCMD = \"no\"]"
    assert_output --partial "Run this by sqlcmd"
}

@test "a database that is in no group, and a catalog without its role" {
    simulate good ".logins = [{name: \"sa\", password: \"pw-sa\", rights: [\"sysadmin\"]}]
        | del(.database) | .groups = [{replicas: [\"SQL1\"], databases: []}]
        | .databases = [{name: \"SSISDB\", instance: \"SQL1\", master_key_passwords: [\"S3cret 'pass' ä\"]}]
        | .scripts = [$(script agent) | .instances = [\"SQL1\"]]"
    run -0 as_agent
    sqlsim_stop
    grants agent --catalog-startup
    sed -i 's/SSISDB/Other/g' agent.sql
    run ! simulate good ".logins = [{name: \"sa\", password: \"pw-sa\", rights: [\"sysadmin\"]}]
        | .database.name = \"Other\" | .scripts = [$(script agent)]"
    assert_output --partial "Enable Always On Support"
}

@test "each script has a SID of its own, or the one that is given" {
    assert_not_equal "$(sid agent)" "$(sid prober)"
    grants agent --sid 0xAABBCCDDEEFF00112233445566778899
    assert_equal "$(sid agent)" 0xaabbccddeeff00112233445566778899
}

@test "the script as JSON" {
    run -0 "$BUILD/client/escrowctl" sql-grants --role prober --login prober --database SSISDB \
        --sid "$(sid prober)" --output json
    assert_equal "$(jq -r .tsql <<<"$output")" "$(cat prober.sql)"
}

@test "what is wrong is said before anything is printed" {
    escrowctl() {
        "$BUILD/client/escrowctl" sql-grants --database SSISDB "$@" 2>err
    }
    run -2 escrowctl --role auditor --login a
    run -2 escrowctl --role agent
    # shellcheck disable=SC2016 # sqlcmd's, not the shell's
    run -2 escrowctl --role agent --login 'a$(b)'
    run -2 escrowctl --role agent --login a --sid 0x1234
    run -2 escrowctl --role agent --login a --sid 0xg0000000000000000000000000000000
    run -2 escrowctl --role agent --login 'CORP\a' --sid "$(sid agent)"
    run -2 escrowctl --role prober --login a --catalog-startup
    assert_output ""
    run cat err
    assert_output --partial "is for --role agent only"
}
