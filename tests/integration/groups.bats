#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Several availability groups, and many databases, on the same instances.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

setup() {
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

# sessions NODE PARTY: how many a login has, the probers' of escrowd or the agents'.
sessions() {
    sim state | jq --arg name "$1" --arg login "escrow_$2" \
        '[.instances[$name].sessions[] | select(.login == $login)] | length'
}

# questions NODE: of the probers' login, each kind once; of many databases with their number.
questions() {
    sim log "$1" | jq -c '[.statements[] | select(.login == "escrow_prober") | .statement
        | if startswith("SELECT wanted.target") then "states of \([scan("\\([0-9]+, N")] | length)"
          else . end] | unique'
}

@test "a prober asks about all groups of its instance over one session" {
    local group node
    CHAIN_GROUPS='two three four'
    chain_serve 2 <<<"of no meaning"
    for group in $CHAIN_GROUPS; do
        wait_log escrowd "epoch record=.* group=$group"
    done
    # The watch alone asks a secondary, and of all groups at once: no statement is of one.
    run -0 questions SQL2
    assert_output '["SELECT quorum_state FROM sys.dm_hadr_cluster","states of 4"]'
    sim failover SQL2 --group three
    wait_log escrowd "epoch record=.* group=three" 2
    for node in SQL1 SQL2; do
        assert_equal "$(sessions "$node" prober)" 1
    done
}

# An escrowd takes 16 connections of an identity: workers without a place would take them from each
# other, and be refused.
@test "twenty databases of one agent: all open after a failover, and escrowd refuses none of them" {
    local database
    CHAIN_DATABASES=$(printf 'd%d ' {1..19})
    CHAIN_DATABASES=${CHAIN_DATABASES% }
    chain_serve 2 <<<"of no meaning"
    for database in SSISDB $CHAIN_DATABASES; do
        chain_deposit "$database" <<<"of no meaning"
    done
    chain_agents
    sim failover SQL2
    wait_log agent-sql2 'the master key opens by itself again' 20 60
    # What a busy machine's probers say too late is no session, or no candidate; the next attempt follows.
    assert_equal "$(count_log agent-sql2 overloaded)" 0
    assert_equal "$(count_log escrowd overloaded)" 0
}

PASSWORD=password-of-the-one-group
OTHER_PASSWORD=password-of-the-other-group

# identity NAME NODE GROUP...: an agent's, which the roster will have.
identity() {
    local name=$1 node=$2
    shift 2
    "$CHAIN_CERTS" agent --id "spiffe://test/agent/$name" --out "$CHAIN/pki" "$CHAIN/ca" \
        >>"$CHAIN/log/certificates" 2>&1
    "$CHAIN_CERTS" key act "$CHAIN/keys/$name.act" >>"$CHAIN/log/certificates" 2>&1
    # shellcheck disable=SC2046 # options of one word each
    ctl_offline enroll --identity "spiffe://test/agent/$name" --role agent \
        $(printf -- '--group %s ' "$@") --instance "$node" --act-key "$CHAIN/keys/$name.act" \
        --out "$CHAIN/docs/$name.enroll" >>"$CHAIN/log/member" 2>&1
}

# serve_two: two groups of both nodes, primary on SQL1, each with a password of its own, and one agent
# for each node. That of sql1 has one identity for both groups, that of sql2 one for each.
serve_two() {
    CHAIN_GROUPS=three
    chain_prepare 2
    identity sql1-both sql1 ssis three
    identity sql2-three sql2 three
    chain_sqlsim <<<"$PASSWORD"$'\n'"$OTHER_PASSWORD"
    sim dmk drop-password - <<<"$OTHER_PASSWORD" >/dev/null
    sim dmk drop-password - --group three --database three <<<"$PASSWORD" >/dev/null
    chain_member
    ctl_offline authority approve-host --key "$CHAIN/keys/authority" --group three \
        --member "$CHAIN/escrowd/member.json" --out "$CHAIN/docs/host-three" >>"$CHAIN/log/member" 2>&1
    chain_escrowd
    chain_publish
    wait_log escrowd 'epoch record=.* group=three' 1 60
    chain_deposit <<<"$PASSWORD"
    CHAIN_GROUP=three chain_deposit three <<<"$OTHER_PASSWORD"
    chain_agent sql1 ssis sql1-both three sql1-both
    chain_agent sql2 ssis sql2 three sql2-three
    wait_log agent-sql1 'sql1/(SSISDB|three): the master key opens by itself' 2 60
    wait_log agent-sql2 'sql2/(SSISDB|three): not primary, or not writable: nothing to do' 2 60
}

# thief NODE IDENTITY GROUP DATABASE: asks for that with the keys of an agent of the node.
thief() {
    "$BUILD/tests/tools/thief" "$CHAIN_PORT" spiffe://test/escrowd/e1 "$CHAIN/ca/ca.pem" \
        "$CHAIN/pki/agent-$2.pem" "$CHAIN/pki/agent-$2.key" "$CHAIN/keys/$2.act" \
        "$CHAIN/keys/authority.pub" "$3" "$4" "$1" | jq -r '"\(.status) \(.reason)"'
}

# grants: what was released to whom, in order.
grants() {
    cat "$CHAIN"/audit/*.jsonl | jq -r 'select(.event == "release" and .decision == "allow")
        | "\(.group)/\(.database) \(.replica) \(.actor) \(.reason)"'
}

@test "an agent serves two groups of its instance: each failover releases that group's password alone" {
    local node
    serve_two
    for node in SQL1 SQL2; do
        assert_equal "$(sessions "$node" agent)" 1
    done
    sim failover SQL2 --group three
    sim wait opens SQL2 --group three --database three --timeout 60000
    wait_log agent-sql2 'sql2/three: the master key opens by itself again' 1 60
    wait_log agent-sql1 'sql1/three: not primary' 1 60
    run -0 grants
    assert_output 'three/three sql2 spiffe://test/agent/sql2-three promotion'
    # Now sql2 is the primary of one group and a secondary of the other: what is not its is refused.
    run -0 thief sql2 sql2 ssis SSISDB
    assert_output '403 candidate_not_primary'
    run -0 thief sql2 sql2 three three
    assert_output '403 role_not_allowed'
    run -0 thief sql2 sql2-three ssis SSISDB
    assert_output '403 role_not_allowed'
    run -0 thief sql2 sql2-three three SSISDB
    assert_output '404 database_unknown'
    # After it, the other group comes; then the first goes back, to an agent with one identity for both.
    sim failover SQL2
    sim wait opens SQL2 --timeout 60000
    sim wait secondary SQL1 --group three --timeout 60000
    sim failover SQL1 --group three
    sim wait opens SQL1 --group three --database three --timeout 60000
    wait_log agent-sql2 'sql2/SSISDB: the master key opens by itself again' 1 60
    wait_log agent-sql1 'sql1/three: the master key opens by itself again' 1 60
    # And both at once.
    sim wait secondary SQL1 --timeout 60000
    sim wait secondary SQL2 --group three --timeout 60000
    sim failover SQL1
    sim failover SQL2 --group three
    sim wait opens SQL1 --timeout 60000
    sim wait opens SQL2 --group three --database three --timeout 60000
    wait_log agent-sql1 'sql1/SSISDB: the master key opens by itself again' 1 60
    wait_log agent-sql2 'sql2/three: the master key opens by itself again' 2 60
    run -0 grants
    assert_line --index 1 'ssis/SSISDB sql2 spiffe://test/agent/sql2 promotion'
    assert_line --index 2 'three/three sql1 spiffe://test/agent/sql1-both promotion'
    assert_equal "$(grants | sed -n '4,$p' | sort)" 'ssis/SSISDB sql1 spiffe://test/agent/sql1-both promotion
three/three sql2 spiffe://test/agent/sql2-three promotion'
}

# poll NUMBER: waits for that request as the agent of SQL3 does; what it got goes to a file of its own.
poll() {
    polls+=("$CHAIN/poll-${#polls[@]}")
    curl --silent --max-time 100 --cacert "$CHAIN/ca/ca.pem" --cert "$CHAIN/pki/agent-sql3.pem" \
        --key "$CHAIN/pki/agent-sql3.key" --output /dev/null --write-out '%{http_code}' \
        "https://127.0.0.1:$CHAIN_PORT/v1/requests?number=$1&wait=60" >"${polls[-1]}" 2>/dev/null 3>&- &
    poll_pids+=("$!")
}

# SSISDB has had the one release that its brake lets pass, so it waits for an admin; d1 has had none.
@test "a promotion is served while requests that wait for admins hold all connections of its agent" {
    local number polls=() poll_pids=() deadline
    CHAIN_DATABASES=d1 CHAIN_RULES='brake: 1'
    chain_serve 3 <<<"of no meaning"
    chain_deposit <<<"of no meaning"
    chain_agent sql2
    chain_agent sql3
    sim failover SQL2 >/dev/null
    wait_log agent-sql2 'sql2/SSISDB: the master key opens by itself again' 1 60
    sim failover SQL3 >/dev/null
    wait_log agent-sql3 'sql3/SSISDB: waits for an approval: request [0-9]* .brake.' 1 60
    number=$(ctl --output json pending | jq '.requests[0].request')
    # With the agent's own they are more than may be: one of them has ended when all are there.
    for _ in {1..17}; do
        poll "$number"
    done
    deadline=$((SECONDS + 60))
    until grep -q 503 "${polls[@]}"; do
        [ "$SECONDS" -lt "$deadline" ]
        read -r -t 0.05 <> <(:) || true
    done
    chain_deposit d1 <<<"of no meaning"
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql3/notify"
    wait_log agent-sql3 'sql3/d1: the master key opens by itself again' 1 60
    assert_equal "$(count_log agent-sql3 'overloaded')" 0
    kill "${poll_pids[@]}" 2>/dev/null || true
    wait "${poll_pids[@]}" || true
}
