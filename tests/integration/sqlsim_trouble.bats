#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Trouble on command: what sqlsim does at each stage of a connection, seen by our own SQL layer.

bats_load_library bats-support
bats_load_library bats-assert
load sql

OPENS="SELECT DATALENGTH(SIGNBYCERT(CERT_ID(N'escrowd_probe'), N'escrowd')) AS signature_bytes"
OPEN="OPEN MASTER KEY DECRYPTION BY PASSWORD = N'S3cret ''pass'' ä'"
ADD="ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY"

setup_file() {
    {
        make_ca ca
        make_certificate good sql1.test.invalid 2
    } 2>"$BATS_FILE_TMPDIR/openssl.err" || { cat "$BATS_FILE_TMPDIR/openssl.err" >&2 && return 1; }
}

setup() {
    simulate good
}

teardown() {
    sqlsim_stop
}

# ask [OPTION...]: the quorum, as agent with 1 s
ask() {
    client timeout=1 "$@" -- batch "$QUORUM"
}

# trouble WORD...: on SQL1, and none before it
trouble() {
    sqlsim_ctl trouble SQL1 off && sqlsim_ctl trouble SQL1 "$@"
}

@test "hang, close and reset at every stage: an error within the time-outs, and the next client is served" {
    local stage kind before after
    for stage in accept prelogin tls login query answer; do
        for kind in hang close reset; do
            before=$(sqlsim_ctl state | jq .instances.SQL1.trouble_hits)
            trouble "$kind" --at "$stage"
            run ask
            assert_failure
            assert_output --regexp '\[[0-9A-Z]*\]'
            after=$(sqlsim_ctl trouble SQL1 off | jq .hits)
            [ "$after" -gt "$before" ]
            run ask
            assert_success
        done
    done
}

@test "close and garbage at byte N of the answer of every stage" {
    local stage bytes
    for stage in prelogin tls login answer; do
        for bytes in 0 1 7 8 9 30; do
            trouble close "$bytes" --at "$stage"
            run ask
            assert_failure
        done
        trouble garbage 4711 --at "$stage"
        run ask
        assert_failure
    done
    trouble off
    run ask
    assert_success
}

@test "mid-query or mid-response: not executed, or executed and not said so" {
    sqlsim_stop
    simulate good '.primary = "SQL2"'
    sqlsim_ctl failover SQL1
    sqlsim_ctl wait primary SQL1
    trouble hang --statement "ADD ENCRYPTION"
    run client timeout=1 -- batch "USE [SSISDB]" batch "$OPEN" batch "$ADD"
    assert_failure
    assert_line --index -1 --partial 'HYT00'
    assert_equal "$(sqlsim_ctl state | jq -c .opens_on)" '["SQL2"]'
    trouble hang 5 --at answer --statement "ADD ENCRYPTION"
    run client timeout=1 -- batch "USE [SSISDB]" batch "$OPEN" batch "$ADD"
    assert_failure
    assert_line --index -1 --partial 'HYT00'
    sqlsim_ctl wait opens SQL1
}

@test "slow and drip are late and right; a drip slower than the time-out ends" {
    elapsed() {
        local start
        start=$(date +%s%3N)
        run "$@"
        ms=$(($(date +%s%3N) - start))
    }
    trouble slow 400
    elapsed ask
    assert_success
    [ "$ms" -ge 400 ]
    trouble drip 8 5
    elapsed ask
    assert_success
    [ "$ms" -ge 35 ]
    trouble slow 200 --at login
    sqlsim_ctl trouble SQL1 drip 100 2 --at tls
    run ask
    assert_success
    assert_equal "$(sqlsim_ctl state | jq -c '[.instances.SQL1.troubles[].hits]')" '[1,2]'
    trouble slow 5000
    run ask
    assert_failure
    assert_output --partial HYT00
}

@test "errors of any number and class: from the table or not, at the login, in place of the answer" {
    trouble error 1205 --count 1
    run ask
    assert_output --partial '1205'
    assert_output --partial 'deadlock'
    trouble error 50000 20 7 --count 1
    run client timeout=1 -- batch "$QUORUM" batch "$QUORUM"
    assert_line --index 0 --partial '50000'
    refute_output --partial 'row'
    for number in 18456 4060 596; do
        trouble error "$number" --at login --count 1
        run ask
        assert_failure
        assert_output --partial "$number"
    done
    trouble error 3906 --at answer --statement "USE"
    run client timeout=1 -- batch "USE [SSISDB]"
    assert_output --partial '3906'
}

@test "one login, one statement, one address: the others see nothing of it" {
    trouble partition --login prober
    sqlsim_ctl trouble SQL1 hang --statement SIGNBYCERT
    sqlsim_ctl trouble SQL1 reset --at accept --from 127.0.0.5
    run ask
    assert_success
    printf 'pw-prober\n' >"$BATS_TEST_TMPDIR/prober"
    chmod 600 "$BATS_TEST_TMPDIR/prober"
    run ask login=prober password="$BATS_TEST_TMPDIR/prober"
    assert_failure
    run client timeout=1 -- batch "USE [SSISDB]" batch "$OPENS"
    assert_line --index -1 --partial HYT00
    timeout 20 "$BATS_TEST_DIRNAME/../sqlsim/handshake.py" "$(sqlsim_port SQL1)"
    run timeout 20 "$BATS_TEST_DIRNAME/../sqlsim/handshake.py" "$(sqlsim_port SQL1)" 127.0.0.5
    assert_failure
    assert_output --partial ConnectionReset
    assert_equal "$(sqlsim_ctl state | jq -c '[.instances.SQL1.troubles[].hits]')" '[1,1,1]'
}

@test "a session that is open when the line is cut hears nothing more" {
    coproc CLIENT { client timeout=1 -- batch "$QUORUM" wait batch "$QUORUM"; }
    read -r -t 20 -u "${CLIENT[0]}" reply
    read -r -t 20 -u "${CLIENT[0]}" reply
    trouble partition --login agent
    echo >&"${CLIENT[1]}"
    read -r -t 20 -u "${CLIENT[0]}" reply
    [[ $reply == "timeout 0 [HYT00]"* ]]
}

@test "a batch that waits for a lock ends by an attention, unless that is not answered either" {
    local reply
    trouble block --count 1
    run client timeout=1 -- batch "$QUORUM"
    assert_output --partial HYT00
    assert_equal "$(sqlsim_ctl state | jq .instances.SQL1.attentions)" 1
    trouble block
    sqlsim_ctl trouble SQL1 hang --at attention
    run client timeout=1 -- batch "$QUORUM"
    assert_failure
    sqlsim_ctl wait trouble SQL1 3
}

@test "of several result sets the first one counts; rows that are too long are malformed" {
    trouble extra 3 --statement quorum_state
    run ask
    assert_failure
    assert_line --partial 'malformed 0 []'
    trouble extra 1 --statement quorum_state
    run ask
    assert_success
    assert_output $'row\t0\tNULL\nok'
}

@test "a frozen view: it says PRIMARY for ever, and the database is closed all the same" {
    local local_view="SELECT ars.role, CONVERT(nvarchar(20), DATABASEPROPERTYEX(N'SSISDB', N'Updateability')) AS updateability FROM sys.availability_groups AS ag INNER JOIN sys.dm_hadr_availability_replica_states AS ars ON ars.group_id = ag.group_id AND ars.is_local = 1 WHERE ag.is_distributed = 0 AND ag.name = N'AG1'"
    sqlsim_ctl set SQL1.view frozen
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait secondary SQL1
    run client -- batch "$local_view" batch "USE [SSISDB]"
    assert_line --index 0 $'row\t1\tREAD_WRITE'
    assert_line --index -1 --partial 976
    assert_equal "$(sqlsim_ctl state | jq -c '.instances.SQL1.view | [.role, .primary_replica]')" '[1,"SQL1"]'
    sqlsim_ctl set SQL1.view ''
    run client -- batch "$local_view"
    assert_line --index 0 --partial $'row\t2'
    run sqlsim_ctl set SQL1.view thawed
    assert_failure
}

@test "a trouble that makes no sense is refused and named" {
    run sqlsim_ctl trouble SQL1 flood
    assert_failure
    assert_output --partial 'no such trouble'
    run sqlsim_ctl trouble SQL9 hang
    assert_output --partial 'no such instance'
    run sqlsim_ctl trouble SQL1 hang --at tls --login agent
    assert_output --partial 'the login is not known'
}
