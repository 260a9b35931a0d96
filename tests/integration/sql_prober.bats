#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A prober process behind its channel: what it learns of an instance, and what it says of each failure.
# Outcomes: 1 answered, 2 refused, 3 unreachable, 4 TLS failed, 5 login refused, 6 SQL error, 7 no row.

bats_load_library bats-support
bats_load_library bats-assert
load sql

NONCE=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
NOTHING="server= cluster=-1 role=-1 operational=-1 recovery=-1 health=-1 synchronization=-1 \
database=-1 rw=0 forwarder=0 quorum=0/-1 primary= sequence=0/0 lsn="

setup_file() {
    {
        make_ca ca
        make_certificate good sql1.test.invalid 30
    } 2>"$BATS_FILE_TMPDIR/openssl.err"
}

teardown() {
    sqlsim_stop
}

# group [JQ-FILTER]: two instances with the good certificate
group() {
    simulate good ".instances[1] += (.instances[0] | {certificate, key}) | ${1:-.}"
    printf 'pw-prober\n' >"$BATS_TEST_TMPDIR/password"
}

# prober NODE [KEY=VALUE...] -- COMMAND...
prober() {
    local node=$1
    shift
    client port="$(sqlsim_port "$node")" login=prober "$@"
}

# hold_prober NODE [KEY=VALUE...] -- COMMAND...: it goes on with each `next`
hold_prober() {
    coproc PROBER { prober "$@" 2>&3; }
}

# next: lets the held one go on behind a `wait`
next() {
    echo >&"${PROBER[1]}"
}

# reply: its next line
reply() {
    read -r -t 30 -u "${PROBER[0]}" line
}

@test "SQL Server 2016 is refused by its version, not by what it lacks; 2017 is not" {
    local question
    group '.instances[0].version = "13.0.7029.3" | .instances[1].version = "14.0.1000.169"'
    for question in state local; do
        run prober SQL1 -- "$question"
        assert_output --partial "its version is 13.0.7029, and SQL Server 2017 (14.0) or later is needed"
        refute_output --partial 207
        run prober SQL2 -- "$question"
        refute_output --partial "its version"
    done
    run prober SQL2 -- state
    assert_output --partial "outcome=1 sql_error=0 server=SQL2"
}

@test "state of a primary and of a secondary" {
    group
    run prober SQL1 -- state
    assert_output "outcome=1 sql_error=0 server=SQL1 cluster=0 role=1 operational=2 recovery=1 \
health=2 synchronization=2 database=0 rw=1 forwarder=0 quorum=1/1 primary=SQL1 sequence=1/0 \
lsn=41000000016800001 diagnosis="
    run prober SQL2 -- state
    assert_output --partial "server=SQL2 cluster=0 role=2 operational=2 recovery=1 health=2"
    assert_output --partial "rw=0 forwarder=0 quorum=1/1 primary=SQL1"
    run prober SQL1 -- local
    assert_output "outcome=1 sql_error=0 server= cluster=-1 role=1 operational=-1 recovery=-1 \
health=-1 synchronization=-1 database=-1 rw=1 forwarder=0 quorum=0/-1 primary= sequence=0/0 lsn= \
diagnosis="
    run prober SQL2 -- local
    assert_output --partial "role=2"
    assert_output --partial "rw=0"
}

@test "a recovery_lsn of 25 digits and quorum forced or lost" {
    group '.switches.recovery_lsn = "max"'
    sqlsim_ctl set SQL1.quorum forced
    run prober SQL1 -- state
    assert_output --partial "quorum=1/2"
    assert_output --partial "lsn=4294967295429496729500001"
    sqlsim_ctl set SQL1.quorum lost
    run prober SQL1 -- state
    assert_output --partial "outcome=1"
    assert_output --partial "quorum=0/-1"
}

@test "a group under Pacemaker: no question about quorum, a sequence number of 64 bits" {
    group '.group.cluster_type = "EXTERNAL"'
    sqlsim_ctl set SQL1.sequence_number 9223372036854775807
    run prober SQL1 -- state
    assert_output --partial "cluster=1"
    assert_output --partial "quorum=0/-1"
    assert_output --partial "sequence=1/9223372036854775807"
    assert_equal "$(statements | grep -c quorum)" 0
}

@test "a primary that is unknown reads as empty" {
    group
    sqlsim_ctl set SQL2.primary_replica NULL
    run prober SQL2 -- state
    assert_output --partial "outcome=1"
    assert_output --partial "primary= sequence"
}

@test "another group or a login without rights is no row or an error, never a fact" {
    group '.logins[1].rights -= ["VIEW ANY DEFINITION"]'
    run prober SQL1 -- state
    assert_output --partial "outcome=7 sql_error=0 $NOTHING"
    assert_output --partial "SQL1: no availability group AG1 here, or no right to see it"
    sqlsim_stop
    group
    run prober SQL1 group="AG'2" -- state local
    assert_line --index 0 --partial "outcome=7 sql_error=0 $NOTHING"
    assert_line --index 1 --partial "outcome=7 sql_error=0 $NOTHING"
    run prober SQL1 database=other -- state
    assert_output --partial "database=-1 rw=0"
    sqlsim_stop
    group '.logins[1].rights -= ["VIEW SERVER STATE"]'
    run prober SQL1 -- state
    # 300 and 297: the driver puts the graver one first.
    assert_output --partial "outcome=6 sql_error=297 $NOTHING"
    assert_output --partial "escrowctl sql-grants"
}

@test "each failure has its outcome and one line for the DBA" {
    group '.instances[1] += {certificate: "fallback"} | del(.instances[1].key)'
    run prober SQL2 -- state
    assert_output --partial "outcome=4 sql_error=0 $NOTHING"
    assert_output --partial "diagnosis=SQL1 (127.0.0.1 port "
    assert_output --partial "the certificate that SQL Server makes for itself"
    printf wrong >"$BATS_TEST_TMPDIR/password"
    run prober SQL1 -- state
    assert_output --partial "outcome=5 sql_error=18456 $NOTHING"
    chmod 604 "$BATS_TEST_TMPDIR/password"
    run prober SQL1 -- state
    assert_output --partial "others can read it"
    sqlsim_ctl hang SQL1
    chmod 600 "$BATS_TEST_TMPDIR/password"
    run prober SQL1 timeout=1 -- state session $NONCE agent opens
    assert_line --partial "outcome=3 sql_error=0 $NOTHING"
    assert_line "outcome=3 found=0"
    assert_line "opens=0 sql_error=0"
    sqlsim_ctl kill SQL1
    run prober SQL1 -- state
    assert_output --partial "outcome=2 sql_error=0 $NOTHING"
    assert_output --partial "nothing listens there"
}

@test "a server that switches encryption off is no source of facts" {
    group '.instances[0].encryption = "off"'
    run prober SQL1 -- state opens
    assert_line --partial "outcome=4 sql_error=0 $NOTHING"
    assert_line "opens=0 sql_error=0"
    assert_equal "$(statements)" ''
}

# logins: how many SQL1 had in all. Each costs one connection to see that the port answers, and one by
# the driver.
logins() {
    echo $(($(sqlsim_ctl state | jq '.instances.SQL1.connections') / 2))
}

@test "a refused login is tried once, then held back for 30 s, whatever is asked" {
    local held="tried again before [0-2][0-9]:[0-5][0-9]:[0-6][0-9] UTC"
    group '.switches.lockout_threshold = 3'
    printf wrong >"$BATS_TEST_TMPDIR/password"
    hold_prober SQL1 -- state local session $NONCE agent opens later 15 state wait later 15 state local \
        3>"$BATS_TEST_TMPDIR/log"
    pid=$PROBER_PID
    for question in state local; do
        reply && [[ $line == "outcome=5 sql_error=18456 "* ]]
    done
    reply && assert_equal "$line" "outcome=5 found=0"
    reply && assert_equal "$line" "opens=0 sql_error=18456"
    reply && [[ $line == "outcome=5 sql_error=18456 "*"Login failed for user 'prober'"* ]]
    assert_equal "$(logins)" 1
    next
    for question in state local; do
        reply && [[ $line == "outcome=5 sql_error=18456 "* ]]
    done
    assert_equal "$(logins)" 2
    wait "$pid"
    # Said as a warning once; a third login would have locked the account.
    run grep -E "$held" "$BATS_TEST_TMPDIR/log"
    assert_line --index 0 --regexp "^<4>.*SQL1: the login was refused \(SQL error 18456\): .* $held; a change of the password, keytab or CA file ends that at once"
    assert_line --index 1 --regexp "^<6>.*$held"
    printf 'pw-prober\n' >"$BATS_TEST_TMPDIR/password"
    run prober SQL1 -- state
    assert_output --partial "outcome=1 "
}

@test "a locked or expired login is not asked for again either, and a restarting server is" {
    group
    for case in lock:18486 expire:18487 must-change:18488; do
        before=$(logins)
        sqlsim_ctl "${case%:*}" prober SQL1
        run prober SQL1 -- state state
        assert_equal "$(grep -c "outcome=5 sql_error=${case#*:}" <<<"$output")" 2
        assert_equal "$(logins)" $((before + 1))
        sqlsim_ctl unlock prober SQL1
    done
    sqlsim_ctl trouble SQL1 error 18401 14 --at login --count 1
    run prober SQL1 -- state state
    assert_line --partial "outcome=6 sql_error=18401"
    assert_line --partial "outcome=1 "
}

@test "finds the session with a nonce, only under its login and while it lasts" {
    group
    printf 'pw-agent\n' >"$BATS_TEST_TMPDIR/agent"
    chmod 600 "$BATS_TEST_TMPDIR/agent"
    coproc AGENT { client password="$BATS_TEST_TMPDIR/agent" -- batch "SET CONTEXT_INFO 0x$NONCE" wait; }
    read -r -t 20 -u "${AGENT[0]}" line
    assert_equal "$line" ok
    hold_prober SQL1 -- session $NONCE agent session $NONCE prober session "${NONCE/00/01}" agent \
        wait session $NONCE agent
    reply && assert_equal "$line" "outcome=1 found=1"
    reply && assert_equal "$line" "outcome=1 found=0"
    reply && assert_equal "$line" "outcome=1 found=0"
    echo >&"${AGENT[1]}"
    wait "$AGENT_PID"
    next
    reply && assert_equal "$line" "outcome=1 found=0"
    run prober SQL2 -- session $NONCE agent
    assert_output "outcome=1 found=0"
}

@test "what was committed on the primary is found on a secondary, as far as it is redone" {
    local other=${NONCE//0/f} commit='IF EXISTS (SELECT 1 FROM sys.extended_properties
        WHERE class = 0 AND name = N'"'escrowd_echo'"')
        EXEC sys.sp_updateextendedproperty @name = N'"'escrowd_echo'"', @value = 0x%s;
        ELSE EXEC sys.sp_addextendedproperty @name = N'"'escrowd_echo'"', @value = 0x%s'
    commit() {
        local text
        # shellcheck disable=SC2059 # a statement with two places
        printf -v text "$commit" "$1" "$1"
        printf 'pw-agent\n' >"$BATS_TEST_TMPDIR/password"
        client port="$(sqlsim_port SQL1)" login=agent -- batch 'USE [SSISDB]' batch "$text"
        printf 'pw-prober\n' >"$BATS_TEST_TMPDIR/password"
    }
    # Read intent is said: one for readers only is as good.
    group '.instances[1].readable = "read_only"'
    commit "$NONCE"
    run prober SQL2 -- echo "$NONCE" echo "$other" state
    assert_line --index 0 'outcome=1 found=1 late=0 closed=0 sql_error=0'
    assert_line --index 1 'outcome=1 found=0 late=0 closed=0 sql_error=0'
    assert_line --index 2 --partial 'outcome=1 sql_error=0 server=SQL2'
    sqlsim_ctl set SQL2.redo_lag on
    commit "$other"
    run prober SQL2 -- echo "$other" echo "$NONCE"
    assert_line --index 0 'outcome=1 found=0 late=0 closed=0 sql_error=0'
    assert_line --index 1 'outcome=1 found=1 late=0 closed=0 sql_error=0'
    sqlsim_ctl set SQL2.redo_lag off
    run prober SQL2 -- echo "$other" echo "$NONCE"
    assert_line --index 0 'outcome=1 found=1 late=0 closed=0 sql_error=0'
    assert_line --index 1 'outcome=1 found=0 late=0 closed=0 sql_error=0'
    # By its name with three parts: the session is in master, and a change of roles leaves it alone.
    refute [ "$(sqlsim_ctl log SQL2 | jq '[.statements[] | select(.login == "prober") | .database] | any(. != "master")')" = true ]
}

@test "a secondary that cannot be read says 976, and is asked about its state as before" {
    group
    run prober SQL2 -- echo "$NONCE" state
    assert_line --index 0 'outcome=6 found=0 late=0 closed=1 sql_error=976'
    assert_line --index 1 --partial 'outcome=1 sql_error=0 server=SQL2'
    # The same number, and it may be over in a moment.
    group '.instances[1].readable = "all"'
    sqlsim_ctl set SQL2.suspended on
    run prober SQL2 -- echo "$NONCE"
    assert_output 'outcome=6 found=0 late=0 closed=0 sql_error=976'
    # And where it does not say which of the two it is.
    group
    sqlsim_ctl trouble SQL2 error 229 --statement secondary_role_allow_connections
    run prober SQL2 -- echo "$NONCE"
    assert_output 'outcome=6 found=0 late=0 closed=0 sql_error=976'
}

@test "a secondary whose read hangs is given up after a second, however long a query may take" {
    local begun
    group '.instances[1].readable = "all"'
    sqlsim_ctl trouble SQL2 hang --statement sys.extended_properties
    begun=$(date +%s%N)
    run prober SQL2 timeout=30 -- echo "$NONCE" state
    assert_line 'outcome=3 found=0 late=1 closed=0 sql_error=0'
    assert_line --partial 'outcome=1 sql_error=0 server=SQL2'
    assert [ $(($(date +%s%N) - begun)) -lt 15000000000 ]
}

@test "whether the key opens: yes, no, no certificate, not to be asked" {
    for form in null 15581; do
        group ".switches.signbycert_failure = \"$form\""
        run prober SQL1 -- opens
        assert_output "opens=1 sql_error=0"
        sqlsim_ctl dmk drop-service-key
        run prober SQL1 -- opens
        assert_output "opens=2 sql_error=$((form))"
        sqlsim_ctl dmk drop-certificate
        run prober SQL1 -- opens
        assert_output --partial "opens=3 sql_error="
        run prober SQL2 -- opens
        assert_output "opens=0 sql_error=976"
        sqlsim_stop
    done
}

@test "the replicas that an instance lists: all, without quorum itself alone" {
    group
    run prober SQL2 -- members
    assert_output "outcome=1 SQL1 SQL2"
    sqlsim_ctl set SQL2.quorum lost
    run prober SQL2 -- members
    assert_output "outcome=1 SQL2"
    run prober SQL1 -- members
    assert_output "outcome=1 SQL1 SQL2"
    sqlsim_ctl replica remove SQL2
    run prober SQL1 -- members
    assert_output "outcome=1 SQL1"
    run prober SQL2 -- members
    assert_output "outcome=7"
}

@test "an error that ends the session in place of the signature keeps its number" {
    group
    sqlsim_ctl trouble SQL1 error 596 21 --at answer --statement SIGNBYCERT --count 1
    run prober SQL1 -- opens opens
    assert_line "opens=0 sql_error=596"
    assert_line "opens=1 sql_error=0"
}

@test "a login whose SID differs on this replica is told so" {
    group '.logins += [.logins[1] + {sid: "0x0102030405060708090a0b0c0d0e0f10", instances: ["SQL1"]}]
        | .logins[1].instances = ["SQL2"]'
    run prober SQL1 -- state opens
    assert_line --partial "outcome=1"
    assert_line "opens=0 sql_error=916"
}

@test "keeps one connection, outside of the database, over a failover" {
    group '.switches.session_kill = "596"'
    hold_prober SQL1 -- state opens wait local wait state opens
    reply && [[ $line == *"role=1"* ]]
    reply && assert_equal "$line" "opens=1 sql_error=0"
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    sqlsim_ctl wait secondary SQL1
    next
    reply && [[ $line == "outcome=1 "*" role=2 "* ]]
    next
    reply && [[ $line == *"role=2"*"primary=SQL2"* ]]
    reply && assert_equal "$line" "opens=0 sql_error=976"
    run sqlsim_ctl state
    assert_equal "$(jq '.instances.SQL1.connections' <<<"$output")" 2
    run prober SQL2 -- state opens
    assert_line --partial "role=1"
    assert_line "opens=2 sql_error=0"
}

@test "connects again after a restart and after a hang" {
    group
    hold_prober SQL1 timeout=1 -- state wait state wait state wait state wait state
    reply && [[ $line == "outcome=1 "* ]]
    sqlsim_ctl kill SQL1
    next
    reply && [[ $line == "outcome=2 "* ]]
    sqlsim_ctl start SQL1
    next
    reply && [[ $line == "outcome=1 "* ]]
    sqlsim_ctl hang SQL1
    next
    reply && [[ $line == "outcome=3 "* ]]
    sqlsim_ctl resume SQL1
    next
    reply && [[ $line == "outcome=1 "* ]]
}

@test "the session is killed between two questions: the second one is answered" {
    group
    hold_prober SQL1 -- state wait state
    reply && [[ $line == "outcome=1 "* ]]
    sqlsim_ctl kill SQL1
    sqlsim_ctl start SQL1
    next
    reply && [[ $line == "outcome=1 "* ]]
}

@test "what is no question ends the process" {
    group
    for message in "204 0" "205 0" "206 0" "1ff 0" "0 0" "200 1" "203 4294967295"; do
        # shellcheck disable=SC2086 # two words
        run prober SQL1 -- message $message
        assert_line "prober: unavailable, exit 9"
    done
}
