#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The generated matrix: every trouble of a SQL Server at every step of a promotion, singly and in
# pairs; what must hold stands in trouble.py. Every single one, a sample of what the rule echo adds,
# and of pairs; with ESCROW_TEST_ALL=1 more of them.
#
# A promotion mostly waits: for a timeout, for the next question. So several chains stand side by
# side, each with its part of the singles.

bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

PARTS=8 PAIRS=10 PAIRS_ALL=200 ECHOES=6

setup() {
    chain_folder "$BATS_TEST_TMPDIR"
    SEED=${ESCROW_TEST_SEED:-$(($(date +%s) % 100000))}
}

teardown() {
    chain_teardown
}

# serve [RULES]: three replicas with agents that have nothing to do
serve() {
    CHAIN_RULES=$'brake: 1000\nretries: 100'"${1:+$'\n'$1}" CHAIN_SQL_TIMEOUT=1s CHAIN_DEADLINE=5s
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
}

# matrix KIND COUNT
matrix() {
    python3 "$BATS_TEST_DIRNAME/trouble.py" "$CHAIN" "$1" "$2" "$SEED"
}

# part NUMBER: a chain of its own with its part of the singles; in a subshell
part() {
    local status=0
    set -eE
    chain_folder "$BATS_TEST_TMPDIR/$1"
    trap 'status=$?; chain_end || status=1; sanitizer_reports || status=1; exit "$status"' EXIT
    serve
    matrix singles "$1/$PARTS"
}

# summary FILE...: of the last lines of runs
summary() {
    tail -q -n 1 "$@" | jq -s -r '"\(map(.cases) | add) of \(.[0].of) \(.[0].kind) (seed \(.[0].seed)): "
        + "\(map(.troubles_met) | add) troubles met, \(map(.wrong) | add) wrong, "
        + "the slowest healing \(map(.slowest_healing_s) | max) s, \(map(.seconds) | max) s"'
}

@test "one trouble at one step: the master key opens in the end, and nothing else does" {
    local i pids=() failed=0
    for ((i = 1; i <= PARTS; i++)); do
        part "$i" >"$BATS_TEST_TMPDIR/part.$i" 2>&1 3>&- &
        pids+=("$!")
    done
    for ((i = 1; i <= PARTS; i++)); do
        wait "${pids[i - 1]}" || {
            failed=1
            cat "$BATS_TEST_TMPDIR/part.$i" >&2
        }
    done
    assert_equal "$failed" 0
    echo "# $(summary "$BATS_TEST_TMPDIR"/part.*)" >&3
    run jq -s 'map(.cases) | add' <(tail -q -n 1 "$BATS_TEST_TMPDIR"/part.*)
    assert_output "$(jq -s '.[0].of' <(tail -q -n 1 "$BATS_TEST_TMPDIR"/part.*))"
}

# sampled KIND COUNT
sampled() {
    matrix "$1" "$2" >"$CHAIN/$1" || {
        cat "$CHAIN/$1" >&2
        return 1
    }
    echo "# sampled $(summary "$CHAIN/$1")" >&3
}

@test "with an echo: one trouble where it is committed or read, and two at two steps: the same" {
    local pairs=$PAIRS echoes=$ECHOES
    [ "${ESCROW_TEST_ALL:-0}" != 1 ] || pairs=$PAIRS_ALL echoes=all
    # shellcheck disable=SC2034 # of lib/chain.bash
    CHAIN_READABLE='SQL1=all SQL2=all SQL3=all'
    serve 'echo: true'
    sampled echo "$echoes"
    sampled pairs "$pairs"
}
