#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# sqlsim's views of availability groups, as a DBA's query sees them, and our own statements beside them.

bats_load_library bats-support
bats_load_library bats-assert
load sql

NODATA='outcome=7 '

setup_file() {
    {
        make_ca ca
        make_certificate good sql1.test.invalid 2
    } 2>"$BATS_FILE_TMPDIR/openssl.err"
}

teardown() {
    sqlsim_stop
}

# ask NODE STATEMENT: its rows in $output
ask() {
    run client port="$(sqlsim_port "$1")" -- batch "$2"
    assert_success
    output=$(grep '^row' <<<"$output" | cut -f 2-)
}

# two_groups: AG1 on SQL1 and SQL2, AG2 on SQL3, both in DAG; SQL1 has the global primary
two_groups() {
    simulate good '.instances += [{name: "SQL3"}]
        | (.instances[1], .instances[2]) += (.instances[0] | {certificate, key})
        | .groups = [
            {name: "AG1", databases: [.database + {name: "SSISDB"}], replicas: ["SQL1", "SQL2"]},
            {name: "AG2", databases: [{name: "SSISDB"}], replicas: ["SQL3"]}]
        | del(.database) | .distributed_groups = [{name: "DAG", groups: ["AG1", "AG2"]}]'
}

@test "a distributed group is a row of its own, its replicas are groups" {
    two_groups
    ask SQL1 'SELECT name, is_distributed FROM sys.availability_groups'
    assert_output $'AG1\t0\nDAG\t1'
    ask SQL3 "SELECT name FROM sys.availability_groups WHERE is_distributed = 1"
    assert_output DAG
    ask SQL1 'SELECT replica_server_name FROM sys.availability_replicas'
    assert_output $'SQL1\nSQL2\nAG1\nAG2'
    ask SQL2 "SELECT COUNT(*) FROM sys.availability_databases_cluster WHERE database_name = N'SSISDB'"
    assert_output 1
}

@test "our statements take no distributed group for theirs, and see the forwarder" {
    two_groups
    run client login=agent -- state
    assert_output --partial 'outcome=1 sql_error=0 server=SQL1'
    assert_output --partial 'rw=1 forwarder=0'
    run client port="$(sqlsim_port SQL3)" group=AG2 -- state
    assert_output --partial 'rw=0 forwarder=1'
    for node in SQL1 SQL3; do
        run client port="$(sqlsim_port $node)" group=DAG -- state local
        assert_line --index 0 --partial "$NODATA"
        assert_line --index 1 --partial "$NODATA"
    done
    sqlsim_ctl failover --distributed DAG AG2
    run client -- state
    assert_output --partial 'rw=0 forwarder=1'
    run client port="$(sqlsim_port SQL3)" group=AG2 -- state
    assert_output --partial 'rw=1 forwarder=0'
}

@test "ids are uniqueidentifiers that join the views, and others after remove and add" {
    simulate good
    local id group
    ask SQL1 "SELECT group_id FROM sys.availability_groups WHERE name = N'AG1'"
    group=$output
    ask SQL1 "SELECT replica_id FROM sys.availability_replicas WHERE replica_server_name = N'SQL2' AND group_id = '$group'"
    id=$output
    assert_regex "$id" '^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$'
    ask SQL1 "SELECT is_local, role, operational_state FROM sys.dm_hadr_availability_replica_states WHERE replica_id = '$id'"
    assert_output $'0\t2\tNULL'
    sqlsim_ctl replica remove SQL2
    ask SQL1 "SELECT COUNT(*) FROM sys.availability_replicas WHERE replica_server_name = N'SQL2'"
    assert_output 0
    sqlsim_ctl replica add SQL2
    ask SQL1 "SELECT replica_id FROM sys.availability_replicas WHERE replica_server_name = N'SQL2'"
    refute_output "$id"
}

@test "a secondary sees its own row only, and nothing without the right" {
    simulate good '.instances[1] += (.instances[0] | {certificate, key})
        | .logins += [{name: "nobody", password: "pw-agent"}]'
    ask SQL1 'SELECT COUNT(*) FROM sys.dm_hadr_availability_replica_states'
    assert_output 2
    ask SQL2 'SELECT is_local, role, connected_state FROM sys.dm_hadr_availability_replica_states'
    assert_output $'1\t2\t1'
    ask SQL2 'SELECT primary_replica FROM sys.dm_hadr_availability_group_states'
    assert_output SQL1
    run client login=nobody -- batch 'SELECT name FROM sys.availability_groups' \
        batch 'SELECT role FROM sys.dm_hadr_availability_replica_states'
    assert_line --index 0 ok
    assert_line --index 1 --partial 'sql 297 '
}

# lsn NODE: of the end of its own log
lsn() {
    ask "$1" 'SELECT last_hardened_lsn FROM sys.dm_hadr_database_replica_states WHERE is_local = 1'
}

@test "lag: what a secondary has not got is missing in its LSN and waits in the primary's queue" {
    simulate good '.instances[1] += (.instances[0] | {certificate, key})'
    local before queue="SELECT log_send_queue_size FROM sys.dm_hadr_database_replica_states WHERE is_local = 0"
    lsn SQL1
    before=$output
    lsn SQL2
    assert_output "$before"
    sqlsim_ctl set SQL2.lag on
    sqlsim_ctl dmk add-password another
    sqlsim_ctl dmk add-password third
    lsn SQL2
    assert_output "$before"
    lsn SQL1
    assert [ "$output" -gt "$before" ]
    ask SQL1 "$queue"
    assert_output 8
    sqlsim_ctl set SQL2.lag off
    ask SQL1 "$queue"
    assert_output 0
    lsn SQL1
    before=$output
    lsn SQL2
    assert_output "$before"
    # Every promotion begins another file of the log.
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    lsn SQL2
    assert [ "$output" -gt "$before" ]
}

@test "each instance has a clock of its own, and our statements ask none" {
    simulate good '.instances[1] += (.instances[0] | {certificate, key})'
    sqlsim_ctl set SQL2.clock 86400000
    ask SQL1 'SELECT SYSUTCDATETIME()'
    local today=${output%% *}
    ask SQL2 'SELECT SYSUTCDATETIME()'
    refute_output --partial "$today"
    run sqlsim_ctl set SQL2.clock soon
    assert_failure
    run client port="$(sqlsim_port SQL2)" -- state opens
    assert_line --index 0 --partial 'outcome=1'
    run statements 'select(.statement | test("DATE|TIME|@@CPU"; "i")) | .statement'
    assert_output '"SELECT SYSUTCDATETIME()"'
}
