#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What no source confirms about SQL Server must not matter: promotions with each value of each switch
# of sqlsim end alike; what must hold stands in switches.py. A few cases in which each value occurs;
# with ESCROW_TEST_ALL=1 each value alone, and pairs.

bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

setup() {
    CHAIN=$BATS_TEST_TMPDIR/chain
    mkdir -p "$CHAIN"
    chmod 0755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR" "$CHAIN"
    SEED=${ESCROW_TEST_SEED:-$(($(date +%s) % 100000))}
}

teardown() {
    local status=0
    chain_end || status=1
    sanitizer_reports || status=1
    return "$status"
}

# start CLUSTER
start() {
    CHAIN_RULES=$'brake: 1000\nretries: 100' CHAIN_CLUSTER_TYPE=$1
    chain_prepare 3
    chain_sqlsim <<<'Any-Password-9182'
    chain_member
    chain_escrowd
    chain_publish
    chain_deposit <<<'Any-Password-9182'
    chain_agents
    for node in "${CHAIN_NODES[@]}"; do
        wait_log "agent-$node" 'opens by itself|nothing to do'
    done
    jq -n --arg escrowd "${CHAIN_PIDS[escrowd]}" --arg sql1 "${CHAIN_PIDS[agent-sql1]}" \
        --arg sql2 "${CHAIN_PIDS[agent-sql2]}" --arg sql3 "${CHAIN_PIDS[agent-sql3]}" \
        '$ARGS.named' >"$CHAIN/pids"
}

# promotions KIND PAIRS
promotions() {
    run python3 "$BATS_TEST_DIRNAME/switches.py" "$CHAIN" "$BUILD/tests/sqlsim/sqlsim" "$1" "$2" "$SEED"
    [ "$status" -eq 0 ] || printf '%s\n' "$output" >&2
    echo "# $(tail -n 1 <<<"$output" | jq -r \
        '"\(.cases) settings of \(.switches) switches (seed \(.seed)), \(.wrong) wrong, \(.seconds) s"')" >&3
    assert_success
}

@test "promotions end alike whatever SQL Server does where its documentation is silent" {
    local kind=cover pairs=1
    [ "${ESCROW_TEST_ALL:-0}" != 1 ] || kind=singles pairs=30
    start wsfc
    promotions "$kind" "$pairs"
}
