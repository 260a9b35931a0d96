#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# sqlsim: what happens to instances, logins and databases without T-SQL, as a client sees it.

bats_load_library bats-support
bats_load_library bats-assert
load ../sqlsim/sqlsim

FLAG="SELECT is_master_key_encrypted_by_server AS flag FROM sys.databases WHERE name = N'SSISDB'"
OPENS="SELECT DATALENGTH(SIGNBYCERT(CERT_ID(N'escrowd_probe'), N'escrowd')) AS signature_bytes"
ADD="ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY"
OPEN="OPEN MASTER KEY DECRYPTION BY PASSWORD = N'S3cret'"

setup() {
    sqlsim_start <<'TEXT'
{"database": {"master_key_passwords": ["S3cret"]}, "switches": {"lockout_threshold": 2},
 "instances": [{"name": "SQL1"}, {"name": "SQL2", "platform": "linux"}],
 "logins": [
   {"name": "agent", "password": "pw-agent", "rights": ["VIEW SERVER STATE", "VIEW ANY DEFINITION", "CONTROL"]},
   {"name": "admin", "password": "pw-admin", "rights": ["sysadmin"]}]}
TEXT
}

teardown() {
    sqlsim_stop
}

# ask NODE LOGIN [OPTION...] STATEMENT...
ask() {
    local node=$1 login=$2
    shift 2
    run timeout 30 "$BATS_TEST_DIRNAME/../sqlsim/witness.py" "$(sqlsim_port "$node")" "$login" \
        "${PASSWORD:-pw-$login}" "$@"
}

@test "a login is locked, expired, to be changed, and let in again" {
    for case in lock:18486 expire:18487 must-change:18488; do
        sqlsim_ctl "${case%:*}" agent SQL1
        ask SQL1 agent "SELECT 1"
        assert_output --partial "\"error\": ${case#*:}"
        ask SQL2 agent "SELECT 1"
        assert_success
        sqlsim_ctl unlock agent
    done
    ask SQL1 agent "SELECT 1"
    assert_success
    run sqlsim_ctl lock nobody
    assert_failure
    PASSWORD=wrong
    ask SQL1 agent "SELECT 1"
    ask SQL1 agent "SELECT 1"
    assert_output --partial '"error": 18456'
    PASSWORD=
    ask SQL1 agent "SELECT 1"
    assert_output --partial '"error": 18486'
}

@test "script upgrade and single user mode let administrators in" {
    sqlsim_ctl upgrade SQL1 on
    ask SQL1 agent "SELECT 1"
    assert_output --partial '"error": 18401'
    ask SQL1 admin "SELECT 1"
    assert_success
    sqlsim_ctl upgrade SQL1 off
    sqlsim_ctl single-user SQL1 on
    ask SQL1 agent "SELECT 1"
    assert_output --partial '"error": 18461'
    ask SQL1 admin "SELECT SERVERPROPERTY('IsSingleUser') AS x"
    assert_output '{"columns": ["x"], "rows": [[1]]}'
    run sqlsim_ctl single-user SQL1 perhaps
    assert_failure
}

@test "versions and platforms have banners of their own" {
    sqlsim_ctl version SQL1 13.0.7029.3
    ask SQL1 agent "SELECT @@VERSION AS v"
    assert_output --partial 'Microsoft SQL Server 2016 - 13.0.7029.3'
    assert_output --partial 'on Windows'
    ask SQL2 agent "SELECT @@VERSION AS v"
    assert_output --partial 'on Linux'
    run sqlsim_ctl version SQL1 12.0.1.1
    assert_failure
}

@test "a lost service account and a restored database: OPEN and ADD are needed" {
    sqlsim_ctl service-account SQL1 lost
    ask SQL1 agent --database SSISDB "$OPENS" "$OPEN" "$ADD"
    assert_line --index 0 --partial '[[null]]'
    assert_line --index 2 --partial '"error": 15466'
    sqlsim_ctl service-account SQL1 restored
    ask SQL1 agent --database SSISDB "$OPENS"
    assert_line --index 0 --partial '[[256]]'
    run sqlsim_ctl restore-database
    assert_failure
    sqlsim_ctl backup
    sqlsim_ctl restore-database --database SSISDB
    ask SQL1 agent --database SSISDB "$FLAG" "$OPENS" "$OPEN" "$ADD" "$FLAG"
    assert_line --index 0 --partial '[[false]]'
    assert_line --index 1 --partial '[[null]]'
    assert_line --index 4 --partial '[[true]]'
}

@test "the SSIS catalog of a new primary ends what nobody runs any more" {
    sqlsim_ctl ssis operation 200 2
    sqlsim_ctl ssis operation 200 2 alive
    sqlsim_ctl ssis replica SQL1 2
    sqlsim_ctl ssis schema-build 16.0.4003.1
    ask SQL1 admin "EXEC [SSISDB].[catalog].[startup]" \
        "SELECT status FROM SSISDB.catalog.operations" \
        "SELECT state FROM SSISDB.catalog.alwayson_replicas" \
        "SELECT property_value AS v FROM SSISDB.internal.catalog_properties WHERE property_name = N'SCHEMA_BUILD'"
    assert_line --index 1 --partial '[[6], [2]]'
    assert_line --index 2 --partial '[[2]]'
    assert_line --index 3 --partial '[["16.0.4003.1"]]'
    run sqlsim_ctl ssis operation 200
    assert_failure
}

@test "redo that is late: hardened and not seen; a failover redoes it, another loses what was not sent" {
    sqlsim_stop
    sqlsim_start <<'TEXT'
{"database": {"master_key_passwords": ["S3cret"]},
 "instances": [{"name": "SQL1"}, {"name": "SQL2", "readable": "all"}],
 "logins": [{"name": "admin", "password": "pw-admin", "rights": ["sysadmin"]}]}
TEXT
    run sqlsim_ctl set SQL1.redo_lag on
    assert_failure
    sqlsim_ctl set SQL2.redo_lag on
    ask SQL1 admin "USE [SSISDB]" "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = N'second'"
    sqlsim_ctl set SQL2.lag on
    ask SQL1 admin "USE [SSISDB]" "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = N'third'" \
        "SELECT log_send_queue_size, redo_queue_size FROM sys.dm_hadr_database_replica_states WHERE is_local = 0"
    assert_line --index 2 --partial '"rows": [[4, 4]]'
    ask SQL2 admin "USE [SSISDB]" "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'second'"
    assert_line --index 1 --partial '"error": 15313'
    sqlsim_ctl failover --force SQL2
    sqlsim_ctl wait primary SQL2
    ask SQL2 admin "USE [SSISDB]" "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'second'" \
        "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'third'"
    refute_line --index 1 --partial error
    assert_line --index 2 --partial '"error": 15313'
}

@test "a contained group: its listener finds the primary, and its logins go with it" {
    sqlsim_stop
    sqlsim_start <<'TEXT'
{"groups": [{"name": "CAG", "contained": true, "listener": 0, "replicas": ["SQL1", "SQL2"], "databases": [{"name": "App"}]}],
 "instances": [{"name": "SQL1"}, {"name": "SQL2"}],
 "logins": [{"name": "admin", "password": "pw-admin", "rights": ["sysadmin"]}]}
TEXT
    local witness="$BATS_TEST_DIRNAME/../sqlsim/witness.py" listener
    listener=$(jq .listeners.CAG <<<"$SQLSIM_READY")
    run timeout 30 "$witness" "$listener" admin pw-admin "CREATE LOGIN [app] WITH PASSWORD = N'pw-app'" \
        "USE [App]" "CREATE USER [app]" "SELECT @@SERVERNAME AS name" "SELECT name FROM sys.databases"
    assert_line --index 3 --partial '[["SQL1"]]'
    assert_line --index 4 --partial '[["master"], ["tempdb"], ["App"], ["CAG_msdb"]]'
    ask SQL1 app "SELECT 1"
    assert_output --partial '"error": 18456'
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    run timeout 30 "$witness" "$listener" app pw-app --database App "SELECT @@SERVERNAME AS name"
    assert_line --index 0 --partial '[["SQL2"]]'
    # Without a primary nobody has the address.
    sqlsim_ctl kill SQL2
    run timeout 30 "$witness" "$listener" app pw-app "SELECT 1"
    refute_output --partial rows
}
