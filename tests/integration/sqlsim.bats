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

# make_ca DIR; make_certificate DIR NAME [DAYS]
make_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj "/CN=test CA" -keyout "$1/ca.key" -out "$1/ca.pem" 2>"$1/openssl.err"
}
make_certificate() {
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$1/$2.key" -out "$1/$2.csr" \
        2>"$1/openssl.err"
    openssl x509 -req -in "$1/$2.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial \
        -days "${3:-2}" -extfile <(printf 'subjectAltName=DNS:%s' "$2") -out "$1/$2.pem" \
        2>"$1/openssl.err"
}

config() {
    cat <<TEXT
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
    timeout 30 "$BATS_TEST_DIRNAME/../sqlsim/witness.py" "$(sqlsim_port "$node")" "$login" "pw-$login" "$@"
}

setup_file() {
    make_ca "$BATS_FILE_TMPDIR"
    make_certificate "$BATS_FILE_TMPDIR" localhost
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
    run sqlsim_ctl log SQL1
    assert_equal "$(jq -c '[.statements[].tls] | unique' <<<"$output")" "[true]"
    assert_equal "$(sqlsim_ctl state | jq .instances.SQL1.clear_bytes)" 0
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
    assert_equal "$(sqlsim_ctl state | jq -c .opens_on)" '["SQL2"]'
    run witness SQL1 agent "$LOCAL" "USE [SSISDB]"
    assert_line --index 0 --partial '[[2, "READ_ONLY"]]'
    assert_line --index 1 --partial '"error": 976'
    run cat "$SQLSIM_DIR"/err
    refute_output --partial S3cret
    run sqlsim_ctl log SQL2
    refute_output --partial S3cret
    assert_output --partial "'<sha256:"
}
