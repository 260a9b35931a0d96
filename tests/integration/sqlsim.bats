#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# sqlsim by its control socket and by clients that we did not write: python3-tds and FreeTDS' tsql.

bats_load_library bats-support
bats_load_library bats-assert
load ../sqlsim/sqlsim

QUORUM="SELECT quorum_state FROM sys.dm_hadr_cluster"
LOCAL="SELECT ars.role, CONVERT(nvarchar(20), DATABASEPROPERTYEX(N'SSISDB', N'Updateability')) AS updateability FROM sys.availability_groups AS ag INNER JOIN sys.dm_hadr_availability_replica_states AS ars ON ars.group_id = ag.group_id AND ars.is_local = 1 WHERE ag.is_distributed = 0 AND ag.name = N'AG1'"
OPENS="SELECT DATALENGTH(SIGNBYCERT(CERT_ID(N'escrowd_probe'), N'escrowd')) AS signature_bytes"
ADD="ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY"

# make_certificate FILE NAME DAYS: of the CA ca.pem in the same folder; DAYS may be negative.
make_certificate() {
    local dir=$BATS_FILE_TMPDIR
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$dir/$1.key" -out "$dir/$1.csr"
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
        -days "$3" -extfile <(printf 'subjectAltName=DNS:%s' "$2") -out "$dir/$1.pem"
}

# config [JQ-FILTER]
config() {
    jq "${1:-.}" <<TEXT
{"database": {"master_key_passwords": ["S3cret 'pass' ä"]},
 "instances": [
   {"name": "SQL1", "certificate": "$BATS_FILE_TMPDIR/localhost.pem", "key": "$BATS_FILE_TMPDIR/localhost.key"},
   {"name": "SQL2"}, {"name": "SQL3"}],
 "logins": [
   {"name": "agent", "password": "pw-agent", "rights":
     ["VIEW SERVER STATE", "VIEW ANY DEFINITION", "CONTROL", "ssis_admin"]},
   {"name": "prober", "password": "pw-prober", "rights":
     ["VIEW SERVER STATE", "VIEW ANY DEFINITION", "CONTROL ON CERTIFICATE"]}]}
TEXT
}

# witness NODE LOGIN [OPTION...] STATEMENT...
witness() {
    local node=$1 login=$2
    shift 2
    timeout 30 "$BATS_TEST_DIRNAME/../sqlsim/witness.py" "$(sqlsim_port "$node")" "$login" \
        "pw-$login" "$@"
}

# hold NODE LOGIN [OPTION...]: a witness that stays; tell it statements by `tell`.
hold() {
    coproc WITNESS { witness "$@" 3>&-; }
    read -r -t 20 -u "${WITNESS[0]}" reply
    [ "$reply" = '{"ready": true}' ]
}

# tell STATEMENT: the answer in $reply
tell() {
    printf '%s\n' "$1" >&"${WITNESS[1]}"
    read -r -t 20 -u "${WITNESS[0]}" reply
}

# tsql_ask NODE STATEMENT [FREETDS-OPTION...]: FreeTDS' own client, TLS demanded
tsql_ask() {
    local node=$1 statement=$2
    shift 2
    {
        printf '[%s]\nhost = localhost\nport = %s\ntds version = 7.4\nencryption = require\n' \
            "$node" "$(sqlsim_port "$node")"
        [ $# -eq 0 ] || printf '%s\n' "$@"
    } >"$BATS_TEST_TMPDIR/freetds.conf"
    printf '%s\ngo\n' "$statement" | FREETDSCONF=$BATS_TEST_TMPDIR/freetds.conf \
        timeout 30 tsql -S "$node" -U agent -P pw-agent 2>&1
}

# handshake NODE: the TLS version and the certificate that it offers
handshake() {
    timeout 30 "$BATS_TEST_DIRNAME/../sqlsim/handshake.py" "$(sqlsim_port "$1")"
}

# of_state FILTER
of_state() {
    sqlsim_ctl state | jq -c "$1"
}

setup_file() {
    local dir=$BATS_FILE_TMPDIR
    {
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -subj "/CN=test CA" -keyout "$dir/ca.key" -out "$dir/ca.pem"
        make_certificate localhost localhost 2
        make_certificate other other.example 2
        make_certificate expired localhost -1
    } 2>"$dir/openssl.err" || { cat "$dir/openssl.err" >&2 && return 1; }
}

teardown() {
    sqlsim_stop
}

@test "python3-tds logs in over TLS, verifies the certificate and sees rows" {
    sqlsim_start < <(config)
    run witness SQL1 prober --ca "$BATS_FILE_TMPDIR/ca.pem" "$QUORUM" "$LOCAL" "USE [SSISDB]" "$OPENS"
    assert_success
    assert_line --index 0 '{"columns": ["quorum_state"], "rows": [[1]]}'
    assert_line --index 1 '{"columns": ["role", "updateability"], "rows": [[1, "READ_WRITE"]]}'
    assert_line --index 3 '{"columns": ["signature_bytes"], "rows": [[256]]}'
    assert_equal "$(sqlsim_ctl log SQL1 | jq -c '[.statements[].tls] | unique')" "[true]"
    assert_equal "$(of_state .instances.SQL1.clear_bytes)" 0
}

@test "a planned failover: the new primary's key opens only after OPEN and ADD with the password" {
    sqlsim_start < <(config)
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    run witness SQL2 agent "$LOCAL" "USE [SSISDB]" "$OPENS" "$ADD" \
        "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'wrong'" \
        "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'S3cret ''pass'' ä'" "$ADD" "CLOSE MASTER KEY" "$OPENS"
    assert_success
    assert_line --index 0 --partial '[[1, "READ_WRITE"]]'
    assert_line --index 2 --partial '[[null]]'
    assert_line --index 3 --partial '"error": 15581'
    assert_line --index 4 --partial '"error": 15313'
    refute_line --index 5 --partial error
    refute_line --index 6 --partial error
    assert_line --index 8 --partial '[[256]]'
    sqlsim_ctl wait opens SQL2 --timeout 1000
    assert_equal "$(of_state .opens_on)" '["SQL2"]'
    assert_equal "$(of_state .instances.SQL2.opened.login)" '"agent"'
    run witness SQL1 agent "$LOCAL" "USE [SSISDB]"
    assert_line --index 0 --partial '[[2, "READ_ONLY"]]'
    assert_line --index 1 --partial '"error": 976'
}

@test "recorded statements hold a hash of the password, verbatim only on demand" {
    sqlsim_start < <(config)
    witness SQL1 agent "USE [SSISDB]" "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'S3cret ''pass'' ä'"
    run sqlsim_ctl log SQL1
    refute_output --partial S3cret
    assert_output --partial "'<sha256:$(printf %s "S3cret 'pass' ä" | sha256sum | cut -c 1-64)>'"
    sqlsim_ctl set log_statements verbatim
    witness SQL1 agent "USE [SSISDB]" "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'S3cret ''pass'' ä'"
    run sqlsim_ctl log SQL1
    assert_output --partial "N'S3cret ''pass'' ä'"
    run grep -r S3cret "${SQLSIM_CONTROL%/*}"
    assert_failure
}

@test "kill: refused and reset; start: the same port, as a secondary if another is primary" {
    sqlsim_start < <(config)
    exec 5<>"/dev/tcp/127.0.0.1/$(sqlsim_port SQL1)"
    sqlsim_ctl wait connections SQL1 1
    sqlsim_ctl kill SQL1
    run read -r -t 10 -u 5
    assert_output --partial "Connection reset by peer"
    run witness SQL1 agent "$QUORUM"
    assert_failure
    assert_output --partial "Connection refused"
    assert_equal "$(of_state '[.primary, .instances.SQL2.view.primary_replica]')" '["SQL1",null]'
    run sqlsim_ctl failover SQL2
    assert_failure
    assert_output --partial 41142
    sqlsim_ctl failover --force SQL2
    sqlsim_ctl wait primary SQL2
    sqlsim_ctl start SQL1
    sqlsim_ctl wait secondary SQL1
    run witness SQL1 agent "$LOCAL"
    assert_output --partial '[[2, "READ_ONLY"]]'
}

@test "kill --auto promotes a synchronous secondary, after its time" {
    sqlsim_start < <(config '.instances[1].availability_mode = "asynchronous"')
    sqlsim_ctl kill --auto SQL1
    sqlsim_ctl wait primary SQL3
    assert_equal "$(of_state '[.primary, .promotions]')" '["SQL3",1]'
}

@test "hang: connections are accepted and nothing is answered until resume" {
    sqlsim_start < <(config)
    hold SQL1 agent
    sqlsim_ctl hang SQL1
    printf '%s\n' "$QUORUM" >&"${WITNESS[1]}"
    witness SQL1 prober "$QUORUM" >"$BATS_TEST_TMPDIR/late" 3>&- &
    sqlsim_ctl wait connections SQL1 2
    run sqlsim_ctl wait statement SQL1 quorum_state --timeout 300
    assert_failure
    run sqlsim_ctl failover SQL1
    assert_output --partial "does not answer"
    sqlsim_ctl resume SQL1
    sqlsim_ctl wait statement SQL1 quorum_state 2
    read -r -t 20 -u "${WITNESS[0]}" reply
    assert_equal "$reply" '{"columns": ["quorum_state"], "rows": [[1]]}'
    wait $!
    run cat "$BATS_TEST_TMPDIR/late"
    assert_output '{"columns": ["quorum_state"], "rows": [[1]]}'
}

@test "a change waits for another session's transaction: to its end, LOCK_TIMEOUT, or an attention" {
    sqlsim_start < <(config)
    hold SQL1 agent --database SSISDB
    tell "BEGIN TRANSACTION"
    tell "$ADD"
    run witness SQL1 agent --database SSISDB "SET LOCK_TIMEOUT 0" "$ADD" \
        "SET LOCK_TIMEOUT 50" "$ADD" "$OPENS"
    assert_line --index 1 --partial '"error": 1222'
    assert_line --index 3 --partial '"error": 1222'
    assert_line --index 4 --partial '[[256]]'
    # Our own driver gives up after its query_timeout.
    (umask 077 && echo pw-agent >"$BATS_TEST_TMPDIR/password")
    run timeout 30 "$BUILD/tests/integration/sql_client" port="$(sqlsim_port SQL1)" \
        tls_name=localhost ca="$BATS_FILE_TMPDIR/ca.pem" login=agent \
        password="$BATS_TEST_TMPDIR/password" timeout=1 -- batch "USE [SSISDB]" batch "$ADD"
    assert_line --index 0 ok
    assert_line --regexp '^timeout 0 '
    witness SQL1 agent --database SSISDB "$OPENS" "$ADD" >"$BATS_TEST_TMPDIR/waits" 3>&- &
    sqlsim_ctl wait statement SQL1 SIGNBYCERT 2
    tell "COMMIT"
    wait $!
    run tail -n 1 "$BATS_TEST_TMPDIR/waits"
    refute_output --partial error
}

@test "a role change ends sessions in the database: by a reset, or by 596" {
    sqlsim_start < <(config)
    hold SQL1 agent --database SSISDB
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    assert_equal "$(of_state .instances.SQL1.sessions)" '[]'
    sqlsim_ctl set session_kill 596
    hold SQL2 agent --database SSISDB
    sqlsim_ctl failover SQL1
    sqlsim_ctl wait primary SQL1
    tell "$QUORUM"
    assert_regex "$reply" '"error": 596'
}

@test "a session outside of the database survives a role change" {
    sqlsim_start < <(config)
    hold SQL1 agent
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait secondary SQL1
    tell "$QUORUM"
    assert_equal "$reply" '{"columns": ["quorum_state"], "rows": [[1]]}'
}

@test "the liar: FreeTDS with require and a verified certificate sends its batch in clear" {
    sqlsim_start < <(config '.instances[0].encryption = "off"')
    run tsql_ask SQL1 "$QUORUM" "ca file = $BATS_FILE_TMPDIR/ca.pem"
    assert_output --partial "quorum_state"
    assert_equal "$(sqlsim_ctl log SQL1 | jq -c '[.statements[] | [.packet, .tls]]')" '[["SQLBatch",false]]'
    assert [ "$(of_state .instances.SQL1.clear_bytes)" -gt 0 ]
}

@test "a server without TLS gets nothing from a client that demands it" {
    sqlsim_start < <(config '.instances[0].encryption = "not_sup"')
    run tsql_ask SQL1 "$QUORUM"
    refute_output --partial "quorum_state"
    assert_equal "$(of_state '.instances.SQL1 | [.statements, .clear_bytes]')" '[0,0]'
    run witness SQL1 agent "$QUORUM"
    assert_output --partial "[[1]]"
}

@test "encryption for the login only, unless the server forces it" {
    sqlsim_start < <(config)
    run witness SQL1 agent --ca "$BATS_FILE_TMPDIR/ca.pem" --login-only "$QUORUM"
    assert_output --partial "[[1]]"
    assert_equal "$(sqlsim_ctl log SQL1 | jq -c '[.statements[].tls]')" '[false]'
    sqlsim_ctl set SQL1.encryption require
    run witness SQL1 agent --ca "$BATS_FILE_TMPDIR/ca.pem" --login-only "$QUORUM"
    assert_output --partial "[[1]]"
    run witness SQL1 agent "$QUORUM"
    assert_failure
    assert_equal "$(sqlsim_ctl log SQL1 | jq -c '[.statements[].tls]')" '[false,true]'
}

@test "FreeTDS refuses fallback, wrong name and expired certificates before the login" {
    local dir=$BATS_FILE_TMPDIR
    sqlsim_start < <(config "
        .instances[1] += {certificate: \"$dir/other.pem\", key: \"$dir/other.key\"} |
        .instances[2] += {certificate: \"$dir/expired.pem\", key: \"$dir/expired.key\"} |
        .instances += [{name: \"SQL4\"}]")
    for node in SQL2 SQL3 SQL4; do
        run tsql_ask "$node" "$QUORUM" "ca file = $dir/ca.pem"
        refute_output --partial "quorum_state"
        assert_equal "$(of_state ".instances.$node | [.connections > 0, .statements]")" '[true,0]'
        run tsql_ask "$node" "$QUORUM"
        assert_output --partial "quorum_state"
    done
    run tsql_ask SQL1 "$QUORUM" "ca file = $dir/ca.pem"
    assert_output --partial "quorum_state"
    run openssl x509 -noout -subject -issuer -ext basicConstraints < <(handshake SQL4)
    assert_line "subject=CN = SSL_Self_Signed_Fallback"
    assert_line "issuer=CN = SSL_Self_Signed_Fallback"
}

@test "tls_max holds a handshake below TLS 1.2" {
    sqlsim_start < <(config '.instances[0].tls_max = "1.0" | .instances[1].tls_max = "1.1"')
    run handshake SQL1
    assert_line --index 0 "TLSv1"
    run handshake SQL2
    assert_line --index 0 "TLSv1.1"
    run handshake SQL3
    assert_line --index 0 "TLSv1.2"
}

@test "logins: unknown, disabled, of one instance only, and a SID that does not match" {
    sqlsim_start < <(config '.logins += [
        {name: "disabled", password: "pw-disabled", disabled: true},
        {name: "local", password: "pw-local", instances: ["SQL2"]},
        {name: "moved", password: "pw-moved", sid: "0x01", rights: ["CONTROL"], instances: ["SQL1"]},
        {name: "moved", password: "pw-moved", sid: "0x02", instances: ["SQL2"]}] | .primary = "SQL2"')
    for login in nobody disabled local; do
        run witness SQL1 "$login" "$QUORUM"
        assert_failure
        assert_output --partial "Login failed for user '$login'."
    done
    run witness SQL2 local "$QUORUM" "USE [SSISDB]"
    assert_line --index 0 --partial "VIEW SERVER PERFORMANCE STATE permission was denied"
    assert_line --index 1 --partial '"error": 916'
    run witness SQL2 moved "USE [SSISDB]"
    assert_output --partial '"error": 916'
    sqlsim_ctl failover SQL1
    sqlsim_ctl wait primary SQL1
    run witness SQL1 moved "USE [SSISDB]"
    refute_output --partial error
}

@test "a login that names the database of a secondary is refused" {
    sqlsim_start < <(config '.instances[2].readable = "read_only"')
    run witness SQL2 agent --database SSISDB "$QUORUM"
    assert_failure
    run witness SQL3 agent --database SSISDB "$QUORUM"
    assert_failure
    run tsql_ask SQL3 $'USE [SSISDB]\ngo\n'"$OPENS" "read-only intent = yes"
    assert_output --partial "signature_bytes"
    assert_output --partial "NULL"
}

@test "what it does not know is answered with 102, counted, and fails the test" {
    sqlsim_start < <(config)
    run witness SQL1 agent "SELECT 1 + 1"
    assert_output --partial '"error": 102'
    run witness SQL1 agent --parameter 7 "SELECT %s + 1"
    assert_output --partial '"error": 102'
    assert_equal "$(of_state '[.unknown_statements, (.unknown[] | .packet)]')" '[2,"SQLBatch","RPC"]'
    run sqlsim_stop
    assert_failure
    assert_output --partial "SELECT 1 + 1"
    SQLSIM_PID=
}

@test "several groups and databases live on the instances, each with its own role and key" {
    sqlsim_start < <(config 'del(.database) | .groups = [
        {name: "AG1", databases: [{master_key_passwords: ["one"]}, {name: "Orders"}],
         replicas: ["SQL1", "SQL2"]},
        {name: "AG2", cluster_type: "EXTERNAL", primary: "SQL2", databases: [{name: "Sales"}],
         replicas: [{instance: "SQL2", name: "OTHER"}, {instance: "SQL3", readable: "all"}]}] |
        .databases = [{name: "Alone", instance: "SQL3"}]')
    run witness SQL2 agent "${LOCAL//AG1/AG2}" "USE [Sales]" "$OPENS" "USE [SSISDB]" "USE [Alone]"
    assert_line --index 0 --partial '[[1, null]]'
    assert_line --index 2 --partial '[[256]]'
    assert_line --index 3 --partial '"error": 976'
    assert_line --index 4 --partial '"error": 911'
    run witness SQL1 agent "${LOCAL//AG1/AG2}" "USE [Sales]"
    assert_line --index 0 --partial '"rows": []'
    assert_line --index 1 --partial '"error": 911'
    sqlsim_ctl failover --group AG2 SQL3
    sqlsim_ctl wait primary --group AG2 SQL3
    printf 'two\n' | sqlsim_ctl dmk add-password --database Sales -
    run sqlsim_ctl failover --group AG2 SQL1
    assert_failure
    assert_equal "$(of_state '[.groups[].primary, .databases[].opens_on, .databases[2].passwords]')" \
        '["SQL1","SQL3",["SQL1"],["SQL1"],["SQL2"],["SQL3"],1]'
}

@test "forced failover with data loss: a lagging replica brings the old password set back" {
    sqlsim_start < <(config '.instances[2].availability_mode = "asynchronous"')
    sqlsim_ctl set SQL3.lag on
    witness SQL1 agent "USE [SSISDB]" "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = N'second'"
    assert_equal "$(of_state '[.passwords, .databases[0].copies.SQL3.behind]')" '[2,true]'
    run sqlsim_ctl failover SQL3
    assert_output --partial 41142
    sqlsim_ctl failover --force SQL3
    sqlsim_ctl wait primary SQL3
    run witness SQL3 agent "USE [SSISDB]" "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'second'" \
        "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'S3cret ''pass'' ä'"
    assert_line --index 1 --partial '"error": 15313'
    refute_line --index 2 --partial error
    assert_equal "$(of_state '[.passwords, .instances.SQL1.suspended, .instances.SQL1.view.synchronization_health]')" \
        '[1,true,0]'
    run sqlsim_ctl failover SQL1
    assert_output --partial 41142
    sqlsim_ctl set SQL1.suspended off
    sqlsim_ctl failover SQL1
    sqlsim_ctl wait opens SQL1
}

@test "a primary that the cluster does not reach: two say so, until its lease is over" {
    sqlsim_start < <(config '.switches = {lease_ms: 600000}')
    hold SQL1 agent --database SSISDB
    sqlsim_ctl partition SQL1 cluster
    sqlsim_ctl partition SQL1 SQL3
    assert_equal "$(of_state '.instances | [.[].view | .primary_replica, .connected_state]')" \
        '[null,1,"SQL1",1,"SQL1",0]'
    sqlsim_ctl failover --force SQL2
    sqlsim_ctl wait primary SQL2
    for node in SQL1 SQL2; do
        run witness "$node" agent "$LOCAL"
        assert_output --partial '[[1, "READ_WRITE"]]'
    done
    tell "ALTER MASTER KEY ADD ENCRYPTION BY PASSWORD = N'lost'"
    refute_regex "$reply" error
    assert_equal "$(of_state .passwords)" 1
    sqlsim_ctl heal
    sqlsim_ctl wait secondary SQL1
    assert_equal "$(of_state '[.instances.SQL1.sessions, .instances.SQL1.view.primary_replica]')" '[[],"SQL2"]'
    sqlsim_ctl set lease_ms 0
    sqlsim_ctl partition --auto SQL2 cluster
    sqlsim_ctl wait resolving SQL2
    run witness SQL2 agent "USE [SSISDB]"
    assert_output --partial '"error": 983'
}

@test "quorum: lost, no row and no database; forced, primary again" {
    sqlsim_start < <(config)
    hold SQL1 agent --database SSISDB
    sqlsim_ctl set SQL1.quorum lost
    assert_equal "$(of_state .instances.SQL1.sessions)" '[]'
    run witness SQL1 agent "$QUORUM" "$LOCAL" "USE [SSISDB]"
    assert_line --index 0 --partial '"rows": []'
    assert_line --index 1 --partial '[[0, null]]'
    assert_line --index 2 --partial '"error": 988'
    sqlsim_ctl set SQL1.quorum forced
    sqlsim_ctl wait primary SQL1
    run witness SQL1 agent "$QUORUM"
    assert_output --partial '[[2]]'
}

@test "suspended, read intent refused, removed and back: 976, 979, 927 and other ids" {
    local before
    sqlsim_start < <(config '.groups = [{databases: [.database], replicas: [
        {instance: "SQL1", primary_connections: "read_write"}, {instance: "SQL2", readable: "all"},
        {instance: "SQL3", availability_mode: "configuration_only"}]}] | del(.database) |
        .instances[1].server_name = "RENAMED"')
    run witness SQL2 agent "USE [SSISDB]" \
        "SELECT @@SERVERNAME AS server_name, CONVERT(nvarchar(128), SERVERPROPERTY(N'ProductVersion')) AS product_version, ORIGINAL_LOGIN() AS login_name"
    refute_line --index 0 --partial error
    assert_line --index 1 --partial '"RENAMED"'
    sqlsim_ctl set SQL2.suspended on
    run witness SQL2 agent "USE [SSISDB]"
    assert_output --partial '"error": 976'
    run witness SQL3 agent "USE [SSISDB]"
    assert_output --partial '"error": 911'
    run tsql_ask SQL1 "USE [SSISDB]" "read-only intent = yes"
    assert_output --partial 'Msg 979'
    before=$(of_state '[.databases[0].group_database_id, .instances.SQL2.replica_id]')
    sqlsim_ctl replica remove SQL2
    run witness SQL2 agent "USE [SSISDB]" "$LOCAL"
    assert_line --index 0 --partial '"error": 927'
    assert_line --index 1 --partial '"rows": []'
    run sqlsim_ctl replica remove SQL1
    assert_failure
    sqlsim_ctl replica add SQL2
    sqlsim_ctl database --database SSISDB remove
    run witness SQL1 agent "$LOCAL" "USE [SSISDB]" "$OPENS"
    assert_line --index 0 --partial '[[1, null]]'
    assert_line --index 2 --partial '[[256]]'
    sqlsim_ctl database --database SSISDB add
    assert_equal "$(of_state "[.databases[0].group_database_id > ${before}[0], .instances.SQL2.replica_id > ${before}[1]]")" \
        '[true,true]'
}

@test "a forwarder is primary of its group and its database READ_ONLY; a failover changes sides" {
    sqlsim_start < <(config '.groups = [{databases: [.database], replicas: ["SQL1", "SQL2"]},
        {name: "AG2", databases: [{}], replicas: ["SQL3"]}] | del(.database) |
        .distributed_groups = [{name: "DAG", groups: ["AG1", "AG2"]}]')
    run witness SQL3 agent "${LOCAL//AG1/AG2}" "USE [SSISDB]"
    assert_line --index 0 --partial '[[1, "READ_ONLY"]]'
    assert_line --index 1 --partial '"error": 976'
    run sqlsim_ctl failover --distributed DAG AG1
    assert_failure
    sqlsim_ctl failover --distributed DAG AG2
    sqlsim_ctl wait primary --group AG2 SQL3
    run witness SQL3 agent "${LOCAL//AG1/AG2}" "USE [SSISDB]" "$OPENS"
    assert_line --index 0 --partial '[[1, "READ_WRITE"]]'
    assert_line --index 2 --partial '[[null]]'
    run witness SQL1 agent "$LOCAL"
    assert_output --partial '[[1, "READ_ONLY"]]'
}

@test "a contained group has system databases of its own; an instance may be an FCI's" {
    sqlsim_start < <(config '.instances[1].name = "FCI\\A" | .groups = [{contained: true,
        databases: [.database], replicas: ["SQL1", "FCI\\A"]}] | del(.database)')
    run witness 'FCI\A' agent "USE [AG1_master]"
    assert_output --partial '"error": 976'
    sqlsim_ctl failover 'FCI\A'
    sqlsim_ctl wait primary 'FCI\A'
    run witness 'FCI\A' agent "USE [AG1_master]" "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'x'"
    refute_line --index 0 --partial error
    assert_line --index 1 --partial '"error": 15151'
    sqlsim_ctl set 'FCI\A.suspended' off
    assert_equal "$(of_state '[.groups[0].contained, .primary, .instances.SQL1.connected]')" '[true,"FCI\\A",true]'
}

@test "lies: a secondary claims to be primary, another names it" {
    sqlsim_start < <(config)
    sqlsim_ctl set SQL2.role PRIMARY
    sqlsim_ctl set SQL3.primary_replica SQL2
    assert_equal "$(of_state '[.primary, .instances.SQL2.view.role, .instances.SQL3.view.primary_replica]')" \
        '["SQL1",1,"SQL2"]'
    run witness SQL2 agent "$LOCAL"
    assert_output --partial '[[1, "READ_WRITE"]]'
    sqlsim_ctl set SQL2.role ""
    run witness SQL2 agent "$LOCAL"
    assert_output --partial '[[2, "READ_ONLY"]]'
    run sqlsim_ctl set SQL2.role KING
    assert_failure
}

@test "dmk commands: passwords from standard input, and no service master key at all" {
    sqlsim_start < <(config)
    printf 'second\n' | sqlsim_ctl dmk add-password -
    printf "S3cret 'pass' ä\n" | sqlsim_ctl dmk drop-password -
    run sqlsim_ctl dmk drop-password second
    assert_failure
    sqlsim_ctl dmk drop-service-key
    run witness SQL1 agent "USE [SSISDB]" "$OPENS" "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'S3cret ''pass'' ä'" \
        "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'second'" "$ADD"
    assert_line --index 1 --partial '[[null]]'
    assert_line --index 2 --partial '"error": 15313'
    refute_line --index 4 --partial error
    assert_equal "$(of_state '[.opens_on, .passwords]')" '[["SQL1"],1]'
    sqlsim_ctl dmk drop-certificate
    run witness SQL1 agent "USE [SSISDB]" "$OPENS"
    assert_line --index 1 --partial '[[null]]'
}

@test "garbage on the port, cut at every length, ends no more than its connection" {
    sqlsim_start < <(config)
    for bytes in '\x12\x01\x00\x08\x00\x00\x01\x00' '\x16\x03\x01\x02\x00' 'GET / HTTP/1.0\r\n\r\n' \
        '\x10\x01\x00\x0c\x00\x00\x01\x00abcd' '\x12\x01\x00\x09\x00\x00\x01\x00\xff' \
        '\x12\x01\x00\x0e\x00\x00\x01\x00\x01\x00\x06\x00\x01\xff'; do
        timeout 10 bash -c "printf '$bytes' >/dev/tcp/127.0.0.1/$(sqlsim_port SQL1)"
    done
    head -c 100000 /dev/urandom | timeout 10 bash -c "cat >/dev/tcp/127.0.0.1/$(sqlsim_port SQL1)" || true
    run witness SQL1 agent "$QUORUM"
    assert_output --partial "[[1]]"
}

@test "the configuration: unknown keys, missing files and wrong words are named" {
    local sim=$BUILD/tests/sqlsim/sqlsim
    for filter in '.surprise = 1:surprise' '.instances[0].key = "/nonexistent":nonexistent' \
        '.instances[0].encryption = "maybe":encryption' '.logins[0].rights = ["FLY"]:rights' \
        '.logins[0].sid = "xyz":sid' '.switches.colour = "red":colour' '.instances = []:instances' \
        '.instances[1].name = "SQL1":name of its own' '.primary = "SQL9":primary' \
        '.group.cluster_type = "MOSIX":cluster_type' \
        '.groups = []:groups' 'del(.database) | .groups = [{replicas: ["SQL9"]}]:replicas' \
        '.databases = [{name: "SSISDB", instance: "SQL1"}]:one name' '.logins[0].instances = ["SQL9"]:instances'; do
        run bash -c "'$sim' - 2>&1" < <(config "${filter%:*}")
        assert_failure
        assert_output --partial "${filter##*:}"
    done
    run "$sim" /nonexistent
    assert_failure
}

@test "SIGTERM and quit end it with status 0 and take the control socket away" {
    sqlsim_start < <(config)
    kill -TERM "$SQLSIM_PID"
    wait "$SQLSIM_PID"
    assert [ ! -e "$SQLSIM_CONTROL" ]
    sqlsim_start < <(config)
    sqlsim_ctl quit
    wait "$SQLSIM_PID"
    assert [ ! -e "$SQLSIM_CONTROL" ]
    run sqlsim_ctl state
    assert_equal "$status" 2
    SQLSIM_PID=
}

@test "its documentation names every command, switch and value; a wrong use is answered with the right one" {
    local readme=$BATS_TEST_DIRNAME/../sqlsim/README.md sqlsim=$BUILD/tests/sqlsim/sqlsim word
    while read -r word; do
        grep -qE "^\| .*\`($word)( [^\`]*)?\`" "$readme" || fail "README.md has no command $word"
    done < <("$sqlsim" --help | sed -n 's/^  \([a-z-]*\).*/\1/p')
    while read -r word; do
        grep -qF "\`$word\`" <<<"$(grep '^| `' "$readme")" || fail "README.md has no $word"
    done < <("$sqlsim" switches | jq -r '.name, (select(.number | not) | .values[])')
    sqlsim_start < <(config)
    run sqlsim_ctl kill
    assert_output --partial "usage: kill [--auto] NODE"
    run sqlsim_ctl nonsense
    assert_output --partial "--help lists them"
    run sqlsim_ctl wait primary
    assert_output --partial "usage: wait opens|primary"
}
