#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Attacks on the proof of a promotion that need the whole chain: servers that are not who they seem
# to be, keys in other hands, clocks that are off. Those that need the keeper alone are in
# tests/unit/test_keeper_attacks.c.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

PASSWORD=attacked-master-key-password

setup() {
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

# thief NODE: has all keys of its agent, and asks from elsewhere.
thief() {
    "$BUILD/tests/tools/thief" "$CHAIN_PORT" spiffe://test/escrowd/e1 "$CHAIN/ca/ca.pem" \
        "$CHAIN/pki/agent-$1.pem" "$CHAIN/pki/agent-$1.key" "$CHAIN/keys/$1.act" \
        "$CHAIN/keys/authority.pub" "$CHAIN_GROUP" SSISDB "$1" | jq -r '"\(.status) \(.reason)"'
}

# releases: replica, decision and reason of every release in the log, in order.
releases() {
    cat "$CHAIN"/audit/*.jsonl |
        jq -r 'select(.event == "release") | "\(.replica) \(.decision) \(.reason)"'
}

# outcomes: what came of asking each replica, in the last release of the log.
outcomes() {
    cat "$CHAIN"/audit/*.jsonl | jq -s -r 'map(select(.event == "release")) | last
        | .facts.evidence.facts.replicas[] | "\(.instance) \(.state.outcome)"'
}

@test "stolen certificate and act key, used from elsewhere: no session on the promoted candidate" {
    chain_serve 3 <<<"$PASSWORD"
    chain_deposit <<<"$PASSWORD"
    sim failover SQL2
    sim wait primary SQL2
    run -0 thief sql2
    assert_output '403 session_not_found'
    run -0 releases
    assert_output 'sql2 deny session_not_found'
    # The agent itself is served afterwards: the thief spoils nothing.
    chain_agent sql2
    sim wait opens SQL2 --timeout 60000
    run -0 thief sql2
    assert_output '403 session_not_found'
}

@test "a fake SQL Server on a replica's address is no witness: wrong CA, another replica's certificate, no TLS" {
    # shellcheck disable=SC2034 # of lib/chain.bash
    CHAIN_RULES='witnesses: 2'
    chain_prepare 5
    cp "$CHAIN/pki/mssql-sql2.pem" "$CHAIN/pki/mssql-sql3.pem"
    cp "$CHAIN/pki/mssql-sql2.key" "$CHAIN/pki/mssql-sql3.key"
    "$CHAIN_CERTS" init-ca "$CHAIN/fakeca" >>"$CHAIN/log/certificates" 2>&1
    rm "$CHAIN"/pki/mssql-sql4.*
    "$CHAIN_CERTS" server --id spiffe://test/mssql/sql4 --dns sql4.test --out "$CHAIN/pki" \
        "$CHAIN/fakeca" >>"$CHAIN/log/certificates" 2>&1
    chain_sqlsim <<<"$PASSWORD"
    sim set SQL5.encryption not_sup
    chain_member
    chain_escrowd
    chain_publish
    chain_deposit <<<"$PASSWORD"
    sim kill SQL1
    sim failover --force SQL2
    sim wait primary SQL2
    chain_agent sql2
    wait_log agent-sql2 'denied/witnesses_missing' 1 60
    run -0 outcomes
    assert_line 'sql2 answered'
    assert_line 'sql3 tls_failed'
    assert_line 'sql4 tls_failed'
    assert_line 'sql5 tls_failed'
    run -0 releases
    refute_output --partial allow
}

@test "a fake SQL Server on the candidate's address: another CA, another replica's certificate, no TLS" {
    # shellcheck disable=SC2034 # of lib/chain.bash
    CHAIN_RULES='witnesses: 2'
    chain_prepare 4
    "$CHAIN_CERTS" init-ca "$CHAIN/fakeca" >>"$CHAIN/log/certificates" 2>&1
    rm "$CHAIN"/pki/mssql-sql3.*
    "$CHAIN_CERTS" server --id spiffe://test/mssql/sql3 --dns sql3.test --out "$CHAIN/pki" \
        "$CHAIN/fakeca" >>"$CHAIN/log/certificates" 2>&1
    cp "$CHAIN/pki/mssql-sql1.pem" "$CHAIN/pki/mssql-sql4.pem"
    cp "$CHAIN/pki/mssql-sql1.key" "$CHAIN/pki/mssql-sql4.key"
    chain_sqlsim <<<"$PASSWORD"
    chain_member
    chain_escrowd
    chain_publish
    chain_deposit <<<"$PASSWORD"
    for node in sql3 sql4; do
        sim failover "${node^^}"
        sim wait primary "${node^^}"
        run -0 thief "$node"
        assert_output '403 candidate_unreachable'
        run -0 outcomes
        assert_line "$node tls_failed"
    done
    # What is connected stays so: it comes again, without TLS.
    sim set SQL2.encryption not_sup
    sim kill SQL2
    sim start SQL2
    sim wait secondary SQL2
    sim failover SQL2
    sim wait primary SQL2
    run -0 thief sql2
    assert_output '403 candidate_unreachable'
    run -0 releases
    refute_output --partial allow
}

@test "a valid server that lies, and one whose views froze before the failover" {
    chain_serve 3 <<<"$PASSWORD"
    chain_deposit <<<"$PASSWORD"
    # SQL3 is who it says, and says that it is the primary; so does its agent's host.
    sim set SQL3.role PRIMARY
    sim set SQL3.primary_replica SQL3
    run -0 thief sql3
    assert_line --regexp '^403 (session_not_found|witnesses_missing)$'
    sim set SQL3.role ''
    sim set SQL3.primary_replica ''
    # The old primary's view says for ever that it is the primary.
    sim set SQL1.view frozen
    sim failover SQL2
    sim wait primary SQL2
    chain_agent sql2
    wait_log agent-sql2 'waits for an approval: request [0-9]* .rival_primary.' 1 60
    run -0 thief sql1
    assert_line --regexp '^403 '
    run -0 releases
    refute_output --partial allow
}

@test "clocks of nodes that are hours off, in both directions, change nothing" {
    chain_serve 3 <<<"$PASSWORD"
    chain_deposit <<<"$PASSWORD"
    sim set SQL1.clock -36000000
    sim set SQL2.clock 36000000
    chain_agent sql2
    sim failover SQL2
    sim wait opens SQL2 --timeout 60000
    sim set SQL3.clock 36000000
    chain_agent sql3
    # And while the promotion is under way: one clock ten hours back, the other twenty.
    sim set resolving_ms 500
    sim failover SQL3
    sim set SQL2.clock -36000000
    sim set SQL3.clock -36000000
    sim wait opens SQL3 --timeout 60000
    run -0 releases
    assert_output "sql2 allow promotion
sql3 allow promotion"
    # Nobody has asked a node for its time, neither probers nor agents, and no act brings one along
    # (test_act.c: test_forms): there is nothing that a clock could change.
    local node
    for node in SQL1 SQL2 SQL3; do
        sim log "$node" | jq -r '.statements[].statement'
    done >"$BATS_TEST_TMPDIR/asked"
    run -0 grep -c 'SET CONTEXT_INFO' "$BATS_TEST_TMPDIR/asked"
    run -1 grep -iE '(DATE|TIME|DATE(ADD|DIFF)|DATETIMEOFFSET) *\(|_TIME\b|TIMESTAMP' \
        "$BATS_TEST_TMPDIR/asked"
}

@test "all replicas down, then up with the group elsewhere: the old primary gets nothing" {
    chain_serve 3 <<<"$PASSWORD"
    chain_deposit <<<"$PASSWORD"
    sim kill SQL1
    sim kill SQL2
    sim kill SQL3
    run -0 thief sql1
    assert_output '403 candidate_unreachable'
    sim start SQL2
    sim start SQL3
    sim failover --force SQL2
    sim wait primary SQL2
    sim start SQL1
    sim wait secondary SQL1
    run -0 thief sql1
    assert_output '403 candidate_not_primary'
    chain_agent sql2
    sim wait opens SQL2 --timeout 60000
    run -0 releases
    assert_line --index 0 'sql1 deny candidate_unreachable'
    assert_line --index 1 'sql1 deny candidate_not_primary'
    assert_line 'sql2 allow promotion'
}

@test "a master key that closes, another replica than the policy's, a receipt that the replica denies: each is told" {
    local number
    chain_serve 3 <<<"$PASSWORD"
    chain_deposit <<<"$PASSWORD"
    sim wait statement SQL1 SIGNBYCERT 1 >/dev/null
    sim replica remove SQL3
    wait_log escrowd 'alert record=.* reason=membership_differs group=ssis replica=sql1 epoch=1' 1 60
    run -0 ctl status
    assert_line --index 0 'escrowd 127.0.0.1 (e1) is ready'
    assert_line '  warns: membership_differs: The availability group has other replicas than the policy. (1 groups)'
    assert_line --regexp '^ssis +SSISDB +sql1 +1 +open +sql1 primary, sql2 secondary, sql3 '
    assert_line '  ssis: replicas in SQL Server that the policy lacks: none; in the policy that SQL Server lacks: SQL3'
    sim replica add SQL3
    wait_log escrowd 'ssis has the replicas of the policy again' 1 60
    sim dmk drop-service-key
    wait_log escrowd 'alert record=.* reason=master_key_closed group=ssis database=SSISDB replica=sql1' 1 60
    run -0 ctl status
    assert_line '  warns: master_key_closed: The primary'"'"'s master key has stopped opening by itself, and there was no promotion. (1 databases)'
    assert_line --regexp '^ssis +SSISDB +sql1 +1 +closed +sql1 primary, sql2 secondary, sql3 secondary$'
    assert_line '  ssis/SSISDB: the master key on sql1 has stopped opening by itself; what its agent gets: escrowctl policy explain --group ssis --database SSISDB'
    refute_output --partial 'policy lacks'
    run -0 ctl policy explain --group ssis --database SSISDB
    assert_line --regexp '^sql1 +promote +needs_approval +restart '
    # Its agent opens the key; to escrowd's prober the replica says that it does not open.
    sim trouble SQL2 error 15581 16 --login escrow_prober --statement SIGNBYCERT
    chain_agent sql2
    sim failover SQL2
    wait_log escrowd 'settle record=.* reason=grant_disproved purpose=promote group=ssis' 1 60
    number=$(cat "$CHAIN"/audit/*.jsonl | jq 'select(.event == "receipt") | .grant')
    run jq -c 'select(.event == "settle") | [.grant, .detail.opens, .detail.sql_error]' "$CHAIN"/audit/*.jsonl
    assert_output "[$number,\"no\",15581]"
    run -0 releases
    assert_output 'sql2 allow promotion'
}
