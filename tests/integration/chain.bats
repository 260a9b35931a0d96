#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The whole chain, seen from the agent: swtpm, escrowd, a modelled availability group and an agent
# for each replica. What each part does when another one is away, and what is left behind in memory
# and files. Refusals and decisions are in promotion.bats.

bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

# Looked for in memory and files: nothing else on the machine is spelled like that.
PASSWORD="Correct-Horse-7781-Staple"
OPENED='the master key opens by itself again'

setup() {
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

# start COUNT [AG-PASSWORD]: everything runs, SQL1 is primary, PASSWORD is deposited.
start() {
    chain_serve "$1" <<<"${2:-$PASSWORD}"
    chain_deposit <<<"$PASSWORD"
    chain_agents
}

# opened NODE [COUNT]: its agent says that it opened the master key, COUNT times, with a receipt.
opened() {
    wait_log "agent-$1" "$1/SSISDB: $OPENED" "${2:-1}" 60
    run count_log "agent-$1" 'no escrowd took the receipt'
    assert_output 0
}

# failover NODE [COUNT]
failover() {
    sim failover "${1^^}"
    sim wait opens "${1^^}" --timeout 60000
    opened "$@"
}

# proved COUNT: so many grants are settled, because the replica itself says that its key opens.
proved() {
    wait_log escrowd 'settle record=.* reason=grant_proved' "$1" 60
}

# grants: how many releases escrowd has granted.
grants() {
    count_log escrowd 'release record=.* decision=allow .*purpose=promote'
}

# config_agent NODE SED-SCRIPT: its configuration, altered, and the agent started with it anew.
config_agent() {
    end "agent-$1"
    sed -i -E "$2" "$CHAIN/run/$1/agent.yaml"
    spawn "agent-$1" "$BUILD/client/escrow-agent" --config "$CHAIN/run/$1/agent.yaml"
    wait_log "agent-$1" 'ready: 1 instances' 2
}

@test "a planned failover, then the primary is killed and another one forced" {
    start 3
    failover sql2
    proved 1
    sim kill SQL2
    sim failover --force SQL3
    sim wait opens SQL3 --timeout 60000
    opened sql3
    proved 2
    run grants
    assert_output 2
    # The one that was killed comes back as a secondary and is left alone.
    sim start SQL2
    wait_log agent-sql2 'sql2/SSISDB: not primary, or not writable' 2
    run count_log agent-sql2 "$OPENED"
    assert_output 1
    run ctl status --output json
    assert_success
    run jq -e '[.. | .unsettled? // empty] | add == 0' <<<"$output"
    assert_success
    # Every record has its one line in the service's log, and nothing else looks like one.
    end escrowd
    diff <(cat "$CHAIN"/audit/*.jsonl | jq -r '"\(.event) \(.sequence)"') \
        <(sed -n -E 's/^<[45]>keeper: ([a-z_]+) record=([0-9]+).*/\1 \2/p' "$CHAIN/log/escrowd")
    run grep -E -c "^<5>keeper: release record=[0-9]+ decision=allow reason=promotion purpose=promote group=$CHAIN_GROUP database=SSISDB replica=sql[23] epoch=[23] actor=spiffe://test/agent/sql[23]$" "$CHAIN/log/escrowd"
    assert_output 2
    run grep -E -c 'keeper: receipt record=[0-9]+ outcome=opened ' "$CHAIN/log/escrowd"
    assert_output 2
    run grep -c "$PASSWORD" "$CHAIN/log/escrowd"
    assert_output 0
}

# ready_worker: SQL2 seems to be on its way to be primary; its worker waits.
ready_worker() {
    sim set SQL2.role RESOLVING
    wait_log agent-sql2 'worker: sql2/SSISDB: ready, and waits until it is needed'
    worker=$(pgrep -P "${CHAIN_PIDS[agent-sql2]}" -f -- '--role worker')
}

# no_other_worker: since then; each says what its sandbox is.
no_other_worker() {
    run count_log agent-sql2 'worker: sandbox: '
    assert_output 1
}

@test "on the way to be primary a worker waits, and has nothing until it is let go" {
    local worker found
    start 2
    ready_worker
    found=$("$BUILD/tests/tools/memscan" "${CHAIN_PIDS[sqlsim]}" "$worker" <<<"$PASSWORD")
    run jq -c --arg worker "$worker" '[.[$worker], add > 0]' <<<"$found"
    assert_output '[0,true]'
    run sim log SQL2
    refute_output --partial CONTEXT_INFO
    sim failover SQL2
    sim wait primary SQL2
    sim set SQL2.role ''
    sim wait opens SQL2 --timeout 60000
    opened sql2
    no_other_worker
    timeout 30 tail --pid="$worker" -s 0.05 -f /dev/null
}

@test "a worker that waits finds its connections gone: it makes them anew" {
    local worker
    start 2
    ready_worker
    end escrowd
    chain_escrowd
    sim kill SQL2
    sim start SQL2
    sim wait secondary SQL2
    sim failover SQL2
    sim wait primary SQL2
    [ -e "/proc/$worker" ]
    sim set SQL2.role ''
    sim wait opens SQL2 --timeout 60000
    opened sql2
    no_other_worker
}

@test "ten failovers, back and forth" {
    local i
    CHAIN_RULES='brake: 20'
    start 2
    for i in 1 2 3 4 5; do
        failover sql2 "$i"
        failover sql1 "$i"
    done
    run grants
    assert_output 10
}

@test "a master key that opens already: nothing is asked" {
    CHAIN_SWITCHES='{"master_copy_opens": true}'
    start 2
    failover sql2
    sim failover SQL1
    wait_log agent-sql1 'sql1/SSISDB: the master key opens by itself' 2
    run grants
    assert_output 1
    run count_log agent-sql1 "$OPENED"
    assert_output 0
}

@test "escrowd is down during the failover, and comes back" {
    start 2
    end escrowd
    sim failover SQL2
    wait_log agent-sql2 'escrowd_unavailable: .*; next attempt in' 3
    chain_escrowd
    sim wait opens SQL2 --timeout 60000
    opened sql2
}

@test "the new primary is killed before it was opened, and comes back" {
    start 2
    end agent-sql2
    sim failover SQL2
    sim wait primary SQL2
    sim kill SQL2
    chain_agent sql2
    wait_log agent-sql2 'sql2: the instance cannot be asked'
    sim start SQL2
    sim wait opens SQL2 --timeout 60000
    opened sql2
}

@test "escrowd, agents and the TPM are started again, and everything goes on" {
    start 2
    failover sql2
    end escrowd
    chain_swtpm_end KILL
    chain_swtpm
    end agent-sql1
    end agent-sql2
    chain_escrowd
    chain_agents
    failover sql1
    # The TPM alone, under a running escrowd.
    chain_swtpm_end KILL
    chain_swtpm
    failover sql2 2
}

# hold_front: it accepts no more, and says nothing. Connections wait in the kernel.
hold_front() {
    FRONT=$(pgrep -P "${CHAIN_PIDS[escrowd]}" -f -- '--role front')
    kill -STOP "$FRONT"
}

@test "an escrowd that hangs: the worker gives up before its deadline, and begins again" {
    start 2
    config_agent sql2 's/^worker_deadline:.*/worker_deadline: 5s/'
    hold_front
    sim failover SQL2
    wait_log agent-sql2 'escrowd_unavailable: escrowd 127.0.0.1: .*; next attempt in'
    kill -CONT "$FRONT" || true # the supervisor may have ended it by now
    sim wait opens SQL2 --timeout 60000
    opened sql2
}

@test "an agent that is stopped gives its worker 4 s, and is gone after 5" {
    local start_ms worker
    start 2
    hold_front
    sim failover SQL2
    wait_log agent-sql2 'the master key does not open by itself'
    until worker=$(pgrep -P "${CHAIN_PIDS[agent-sql2]}" -f -- '--role worker'); do :; done
    start_ms=$(date +%s%3N)
    end agent-sql2
    # Of itself the worker would go on for 30 s.
    [ $(($(date +%s%3N) - start_ms)) -lt 15000 ]
    wait_log agent-sql2 'a worker in flight has 4 s to end'
    [ ! -e "/proc/$worker" ]
    kill -CONT "$FRONT" || true
}

@test "an agent that was not there during the promotion opens when it starts" {
    start 2
    end agent-sql2
    sim failover SQL2
    sim wait primary SQL2
    chain_agent sql2
    sim wait opens SQL2 --timeout 60000
    opened sql2
}

@test "an escrowd that does not answer: the next one is asked" {
    start 2
    # Port 1 of this machine refuses connections.
    config_agent sql2 "s|^escrowds:|&\n  - {address: 127.0.0.1, port: 1, server_id: spiffe://test/escrowd/e0, ca_file: $CHAIN/ca/ca.pem}|"
    failover sql2
    wait_log agent-sql2 'worker: sql2/SSISDB: escrowd 127.0.0.1: '
}

@test "the database is older than the newest password: a retired one opens it, and that is said" {
    start 2
    chain_deposit <<<'Another-Password-0034'
    failover sql2
    wait_log agent-sql2 'does not accept the password of version 2 \(SQL error 15313\)'
    wait_log agent-sql2 'database_behind_escrow'
    wait_log agent-sql2 "$OPENED: version 1, epoch 2"
}

@test "no escrowed password fits: said, and tried again rarely" {
    start 2 'Not-The-Deposited-One-55'
    sim failover SQL2
    wait_log agent-sql2 'wrong_password.* \(SQL error 15313\): no escrowed password opens the master key.*; next attempt in 3[0-9]\.[0-9] s'
    run grants
    assert_output 1
}

@test "after a promotion the catalog is started and hooks are told" {
    start 2
    cat >"$CHAIN/hook" <<TEXT
#!/bin/sh
cat >"$CHAIN/event.part" && mv "$CHAIN/event.part" "$CHAIN/event"
TEXT
    chmod 0755 "$CHAIN/hook"
    config_agent sql2 "s|^instances:|hooks: [{path: $CHAIN/hook}, {path: /nonexistent}]\ninstances:|;s/catalog_startup:.*/catalog_startup: true/"
    failover sql2
    wait_log agent-sql2 'catalog.startup done'
    wait_log agent-sql2 "hook $CHAIN/hook done"
    wait_log agent-sql2 'hook /nonexistent failed: exit status 127'
    sim wait statement SQL2 '[catalog].[startup]'
    run jq -r '[.event, .instance, .group, .database, .epoch, .version, .receipted, (.took_ms.release > 0)] | join(" ")' "$CHAIN/event"
    assert_output "opened sql2 $CHAIN_GROUP SSISDB 2 1 true true"
}

@test "afterwards no process and no file holds the password" {
    local pid pids=() files name found
    start 2
    failover sql2
    failover sql1
    for name in escrowd agent-sql1 agent-sql2; do
        pid=${CHAIN_PIDS[$name]}
        mapfile -t -O "${#pids[@]}" pids < <(echo "$pid" && pgrep -P "$pid")
    done
    # Supervisor, keeper, front and two probers; two agents with a prober each; no worker.
    [ "${#pids[@]}" -eq 9 ]
    run pgrep -f -- "--role worker --config $CHAIN/"
    assert_failure
    # SQL Server's model knows the password: a scan that does not find it there proves nothing.
    found=$("$BUILD/tests/tools/memscan" "${CHAIN_PIDS[sqlsim]}" <<<"$PASSWORD")
    run jq 'add > 0' <<<"$found"
    assert_output true
    found=$("$BUILD/tests/tools/memscan" "${pids[@]}" <<<"$PASSWORD")
    run jq -c 'to_entries | map(select(.value > 0))' <<<"$found"
    assert_output '[]'
    files=$(grep -rlaF -e "$PASSWORD" "$CHAIN") || true
    [ -z "$files" ]
    # UTF-16LE: every character is followed by a NUL.
    files=$(grep -rlaP -e "${PASSWORD//?/&\\x00}" "$CHAIN") || true
    [ -z "$files" ]
}
