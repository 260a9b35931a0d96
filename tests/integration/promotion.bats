#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Who gets the password, in the whole chain: real agents ask, the replicas say what they say, and the
# log holds why. The truth tables of the decision are in tests/unit/test_policy*.c.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

PASSWORD=whole-chain-master-key-password

setup() {
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

# begin COUNT [DEPOSITED]: a group in service; DEPOSITED where escrow holds another password.
begin() {
    chain_serve "$1" <<<"$PASSWORD"
    chain_deposit <<<"${2:-$PASSWORD}"
}

# fail_over NODE: until it is primary, ONLINE and READ_WRITE.
fail_over() {
    sim failover "${1^^}" >/dev/null
    sim wait primary "${1^^}" >/dev/null
}

thief() {
    "$BUILD/tests/tools/thief" "$CHAIN_PORT" spiffe://test/escrowd/e1 "$CHAIN/ca/ca.pem" \
        "$CHAIN/pki/agent-$1.pem" "$CHAIN/pki/agent-$1.key" "$CHAIN/keys/$1.act" \
        "$CHAIN/keys/authority.pub" "$CHAIN_GROUP" SSISDB "${2:-$1}" | jq -r '"\(.status) \(.reason)"'
}

# reasons: decision and reason of every release in the log, in order.
reasons() {
    cat "$CHAIN"/audit/*.jsonl |
        jq -r 'select(.event == "release") | "\(.replica) \(.decision) \(.reason) \(.epoch)"'
}

@test "a secondary and the baseline primary are refused, and the log says why" {
    begin 3
    run -0 thief sql2
    assert_output '403 candidate_not_primary'
    # The primary since before: its agent has no session there with the nonce.
    run -0 thief sql1
    assert_output '403 session_not_found'
    run -0 reasons
    assert_line --index 0 --partial 'sql2 deny candidate_not_primary'
    assert_line --index 1 --partial 'sql1 deny session_not_found'
}

@test "the keys of one agent do not ask for another replica" {
    begin 3
    fail_over sql2
    run -0 thief sql3 sql2
    assert_output '403 replica_unknown'
}

@test "the old primary is refused after a failover, the new one served once" {
    begin 3
    chain_agents
    sim failover SQL2
    sim wait opens SQL2
    run -0 thief sql1
    assert_output '403 candidate_not_primary'
    # What was served stays served: the new primary's agent has nothing to ask any more.
    wait_log agent-sql2 'opens by itself again'
    run -0 reasons
    assert_line --index 0 'sql2 allow promotion 2'
    assert_equal "$(reasons | grep -c allow)" 1
}

@test "without a promotion the primary whose key stops opening needs an approval" {
    begin 3
    chain_agents
    # As after a change of the service account.
    sim dmk drop-service-key
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql1/notify"
    wait_log agent-sql1 'waits for an approval: request [0-9]* .restart.'
    run -0 reasons
    assert_line --index 0 --partial 'sql1 needs_approval restart'
    refute_output --partial allow
}

# boss: escrowctl as the second admin.
boss() {
    "$BUILD/client/escrowctl" --config "$CHAIN/boss.yaml" "$@"
}

@test "two admins approve what a restarted primary asks for, and its master key opens" {
    local number
    CHAIN_ADMINS=boss begin 3
    chain_person boss
    chain_agents
    sim dmk drop-service-key
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql1/notify"
    wait_log agent-sql1 'waits for an approval: request [0-9]* .restart.; an admin runs: escrowctl approve'
    number=$(ctl --output json pending | jq -r '.requests[0].request')
    assert_equal "$(ctl --output json pending | jq -r '.requests[0].approved')" '0 of 2'
    run -0 ctl approve "$number" --yes
    assert_line --partial 'asked by   spiffe://test/agent/sql1'
    assert_line --regexp '^  act key    000b[0-9a-f]{64}$'
    run ! ctl approve "$number" --yes
    assert_output --partial already_approved
    run -0 boss approve "$number" --yes
    wait_log agent-sql1 'opens by itself again'
    run -0 reasons
    assert_line --partial 'sql1 needs_approval restart'
    assert_line --partial 'sql1 allow approved 2'
    number=$(cat "$CHAIN"/audit/*.jsonl | jq -r 'select(.reason == "approved") | .sequence')
    run -0 ctl audit explain "$number"
    assert_output --partial 'the same'
}

@test "another replica that also says PRIMARY makes it an admin's matter" {
    begin 3
    chain_agents
    sim set SQL3.role PRIMARY
    sim failover SQL2
    wait_log agent-sql2 'waits for an approval: request [0-9]* .rival_primary.'
    run -0 reasons
    refute_output --partial allow
    # The liar stops: the agent, which does not give up, is served. It would ask again after 20 s.
    sim set SQL3.role ''
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql2/notify"
    sim wait opens SQL2 --timeout 17000
    # It asked more than once, and the log has the request once.
    run -0 reasons
    assert_equal "$(grep -c needs_approval <<<"$output")" 1
}

@test "admins approve at the escrowd that knows the request, whichever else is away" {
    local number
    CHAIN_ADMINS=boss CHAIN_AWAY=9 begin 3
    chain_person boss
    CHAIN_AWAY=9 chain_agent sql1
    sim dmk drop-service-key
    wait_log agent-sql1 'waits for an approval: request [0-9]* .restart.; an admin runs: escrowctl approve [0-9]* --escrowd spiffe://test/escrowd/e1'
    number=$(ctl --output json pending | jq -r '.requests[0].request')
    run -0 ctl approve "$number" --yes
    run -0 boss approve "$number" --yes
    wait_log agent-sql1 'opens by itself again'
    assert_equal "$(count_log agent-sql1 'waits for an approval')" 1
}

@test "an admin has planned work taken as known, if the replicas say so too" {
    begin 3
    # Somebody looks after this failover by hand.
    fail_over sql2
    wait_log escrowd 'epoch record=.* replica=sql2'
    run ! ctl rebaseline --group ssis --database SSISDB sql1
    assert_output --partial candidate_not_primary
    run -0 ctl rebaseline --group ssis --database SSISDB sql2
    assert_output --partial sql2
    chain_agent sql2
    sim dmk drop-service-key
    wait_log agent-sql2 'waits for an approval: request [0-9]* .restart.'
    # Both are decisions that anybody can make again.
    for record in $(jq 'select(.event == "rebaseline") | .sequence' "$CHAIN"/audit/*.jsonl); do
        run -0 ctl audit explain "$record"
        assert_output --partial 'the same'
    done
    # The next failover is one again.
    chain_agent sql3
    fail_over sql3
    wait_log agent-sql3 'opens by itself again'
}

@test "a request that nobody approves in its time ends, and the agent says so and asks anew" {
    CHAIN_RULES='approval_expiry: 2s' begin 3
    chain_agent sql1
    sim dmk drop-service-key
    wait_log agent-sql1 'needs_approval/request_expired: .*has expired: not enough admins have approved it in its time; next attempt in'
    wait_log agent-sql1 'waits for an approval' 2
    run -0 jq -r 'select(.event == "expired") | "\(.replica) \(.reason)"' "$CHAIN"/audit/*.jsonl
    assert_line --index 0 'sql1 request_expired'
    run -0 reasons
    refute_output --partial allow
}

@test "too few witnesses: refused until one is back" {
    begin 3
    chain_agents
    sim kill SQL1
    sim kill SQL3
    sim failover --force SQL2
    wait_log agent-sql2 'denied/witnesses_missing'
    sim start SQL3
    sim wait secondary SQL3
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql2/notify"
    sim wait opens SQL2 --timeout 60000
    run -0 reasons
    assert_line --partial 'sql2 allow promotion'
}

@test "a wrong password in escrow is reported, retried a few times, and then needs an approval" {
    begin 3 not-the-password-of-this-master-key
    chain_agents
    sim failover SQL2
    wait_log agent-sql2 'wrong_password.*15313'
    assert_equal "$(reasons | grep -c 'sql2 allow promotion 2')" 1
    for attempt in 2 3 4 5 6; do
        "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql2/notify"
        wait_log agent-sql2 'wrong_password.*15313' "$attempt" 60
    done
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql2/notify"
    wait_log agent-sql2 'waits for an approval: request [0-9]* .retries_exhausted.' 1 60
    assert_equal "$(reasons | grep -c 'allow promotion_repeat')" 5
    # Nobody else gets what was granted to this one.
    run -0 thief sql1
    assert_output '403 candidate_not_primary'
}

back_and_forth() {
    CHAIN_SWITCHES="{\"recovery_lsn\": \"$1\"}"
    begin 3
    chain_agents
    for node in sql2 sql1 sql2 sql1; do
        sim failover "${node^^}"
        sim wait opens "${node^^}" --timeout 30000
    done
    run -0 reasons
    assert_output "sql2 allow promotion 2
sql1 allow promotion 3
sql2 allow promotion 4
sql1 allow promotion 5"
}

@test "A, B, A, B: each promotion is served once, recovery_lsn a real LSN" {
    back_and_forth lsn
}

@test "A, B, A, B: each promotion is served once, recovery_lsn always MaxLSN" {
    back_and_forth max
}

@test "A, B, A, B: each promotion is served once, recovery_lsn first an LSN, then MaxLSN" {
    back_and_forth lsn_then_max
}

@test "two replicas: the survivor is served when the other has been dead for dead_for" {
    CHAIN_RULES='witnesses: candidate+silence
dead_for: 1s'
    begin 2
    chain_agents
    sim failover SQL2
    sim wait opens SQL2
    wait_log agent-sql2 'opens by itself again'
    chain_watched sql1
    sim kill SQL2
    sim failover --force SQL1
    sim wait opens SQL1 --timeout 60000
    run -0 reasons
    assert_line --index 0 'sql2 allow promotion 2'
    assert_line --partial 'sql1 allow candidate_silence 3'
}

@test "two replicas by majority: the survivor alone is not enough" {
    begin 2
    chain_agents
    sim kill SQL1
    sim failover --force SQL2
    wait_log agent-sql2 'denied/witnesses_missing'
    run -0 reasons
    refute_output --partial allow
}

@test "Pacemaker: the sequence number decides who knows the newest configuration" {
    CHAIN_CLUSTER_TYPE=external
    begin 3
    chain_agents
    sim set SQL3.sequence_number 99999999
    sim failover SQL2
    wait_log agent-sql2 'denied/sequence_not_maximum'
    sim set SQL3.sequence_number ''
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql2/notify"
    sim wait opens SQL2 --timeout 60000
}
