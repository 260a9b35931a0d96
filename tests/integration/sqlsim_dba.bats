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
