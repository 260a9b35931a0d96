#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bash partition_chain.bash FOLDER NAME NODES POLICY CUT...: a program of its own, so that several run
# side by side: one chain whose hosts are network namespaces, and partitions.py over it. Ends all that
# it started, also when it is told to end; fails if anything is left. FOLDER exists and every user
# may traverse it; BUILD is set.
set -eEu -o pipefail

CHAIN=$1/$2/chain
CHAIN_NETWORK=escrow-test-$$
CHAIN_ESCROWD=$BUILD/tests/plain/escrowd
CHAIN_AGENT=$BUILD/tests/plain/escrow-agent
CHAIN_POLL=100ms CHAIN_SQL_TIMEOUT=1s CHAIN_DEADLINE=5s
# Who is out of the cluster believes for as long as it is.
CHAIN_SWITCHES='{"lease_ms": 600000}'
CHAIN_RULES=$'brake: 1000\nretries: 100\nrival_wait: 700ms'
[ "$4" = majority ] || CHAIN_RULES+=$'\n'"witnesses: $4"$'\ndead_for: 3s'
PASSWORD=partitioned-master-key-password

# shellcheck source=tests/integration/lib/chain.bash
. "$(dirname "$0")/chain.bash"

finish() {
    local status=$?
    trap - EXIT INT TERM
    set +e
    chain_end || status=1
    sanitizer_reports || status=1
    network_end "$CHAIN_NETWORK" || status=1
    if [ "$status" -eq 0 ]; then
        echo 'ended well'
    else
        tail -n 60 "$CHAIN"/log/*
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

mkdir -p "$CHAIN"
chmod 0755 "$1/$2" "$CHAIN"
nodes=()
for ((i = 1; i <= $3; i++)); do
    nodes+=("sql$i")
done
network_new "$CHAIN_NETWORK" escrowd "${nodes[@]}"
chain_serve "$3" <<<"$PASSWORD"
chain_deposit <<<"$PASSWORD"
chain_agents
pids=$(jq -n --arg escrowd "${CHAIN_PIDS[escrowd]}" '$ARGS.named')
for node in "${nodes[@]}"; do
    wait_log "agent-$node" 'opens by itself|nothing to do'
    pids=$(jq --arg node "$node" --arg pid "${CHAIN_PIDS[agent-$node]}" '.[$node] = $pid' <<<"$pids")
done
printf '%s\n' "$pids" >"$CHAIN/pids"
python3 "$(dirname "$0")/../partitions.py" "$CHAIN" "$CHAIN_NETWORK" "$4" "${@:5}" \
    >"$1/$2.results"
