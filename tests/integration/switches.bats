#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What no source confirms about SQL Server must not matter: promotions with each value of each switch
# of sqlsim end alike; what must hold stands in switches.py. A few cases in which each value occurs;
# with ESCROW_TEST_ALL=1 each value alone, and pairs.

bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

setup() {
    chain_folder "$BATS_TEST_TMPDIR"
    SEED=${ESCROW_TEST_SEED:-1}
}

teardown() {
    chain_teardown
}

# start: three replicas with agents that have nothing to do; each release needs an echo, so that every
# statement of ours is sent
start() {
    CHAIN_RULES=$'brake: 1000\nretries: 100\necho: true' CHAIN_CATALOG=true
    CHAIN_READABLE='SQL1=all SQL2=all SQL3=read_only'
    chain_serve 3 <<<'Any-Password-9182'
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
    "$BUILD/tests/tools/tsql_texts" >"$CHAIN/texts"
    run python3 "$BATS_TEST_DIRNAME/switches.py" "$CHAIN" "$BUILD/tests/sqlsim/sqlsim" "$CHAIN/texts" "$1" "$2" "$SEED"
    [ "$status" -eq 0 ] || printf '%s\n' "$output" >&2
    echo "# $(tail -n 1 <<<"$output" | jq -r \
        '"\(.cases) settings of \(.switches) switches (seed \(.seed)), \(.wrong) wrong, \(.seconds) s"')" >&3
    assert_success
}

@test "promotions end alike whatever SQL Server does where its documentation is silent" {
    local kind=cover pairs=1
    [ "${ESCROW_TEST_ALL:-0}" != 1 ] || kind=singles pairs=30
    start
    promotions "$kind" "$pairs"
}
