#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The generated matrix: every trouble of a SQL Server at every step of a promotion, singly and in
# pairs; what must hold stands in trouble.py. A sample; with ESCROW_TEST_ALL=1 every single one.

bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

SINGLES=32 PAIRS=10 PAIRS_ALL=200

setup() {
    chain_folder "$BATS_TEST_TMPDIR"
    SEED=${ESCROW_TEST_SEED:-$(($(date +%s) % 100000))}
}

teardown() {
    chain_teardown
}

# matrix KIND COUNT
matrix() {
    CHAIN_RULES=$'brake: 1000\nretries: 100' CHAIN_SQL_TIMEOUT=1s CHAIN_DEADLINE=5s
    CHAIN_CATALOG=true
    chain_serve 3 <<<'Any-Password-9182'
    chain_deposit <<<'Any-Password-9182'
    chain_agents
    for node in "${CHAIN_NODES[@]}"; do
        wait_log "agent-$node" 'opens by itself|nothing to do'
    done
    jq -n --arg escrowd "${CHAIN_PIDS[escrowd]}" --arg sql1 "${CHAIN_PIDS[agent-sql1]}" \
        --arg sql2 "${CHAIN_PIDS[agent-sql2]}" --arg sql3 "${CHAIN_PIDS[agent-sql3]}" \
        '$ARGS.named' >"$CHAIN/pids"
    run python3 "$BATS_TEST_DIRNAME/trouble.py" "$CHAIN" "$1" "$2" "$SEED"
    [ "$status" -eq 0 ] || printf '%s\n' "$output" >&2
    # shellcheck disable=SC2001 # every line
    echo "# $(tail -n 1 <<<"$output" |
        jq -r '"sampled \(.cases) of \(.of) \(.kind) (seed \(.seed)): \(.troubles_met) troubles met, \(.wrong) wrong, the slowest healing \(.slowest_healing_s) s"')" >&3
    assert_success
}

@test "one trouble at one step: the master key opens in the end, and nothing else does" {
    local count=$SINGLES
    [ "${ESCROW_TEST_ALL:-0}" != 1 ] || count=all
    matrix singles "$count"
}

@test "two troubles at two steps: the same" {
    local count=$PAIRS
    [ "${ESCROW_TEST_ALL:-0}" != 1 ] || count=$PAIRS_ALL
    matrix pairs "$count"
}
