# SPDX-License-Identifier: Apache-2.0
# bash: releases over the whole path (front, keeper, three replicas asked, log on disk, TPM) against
# the same TPM commands alone. An admin orders a drill, and the agent of the primary asks for it
# again and again: the brake of the policy lets out 1000 an hour.

# shellcheck disable=SC2153 # setup.bash sets ROUNDS
COMMANDS_PER_RELEASE=14
CONNECTIONS=4

# The commands of the log, without the keeper's regular question whether the TPM is there.
release_commands() {
    grep -v '^8001........00000181' "$CHAIN/run/commands"
}

# order_drill: ORDER is one that nobody has used.
order_drill() {
    acts order admin 1 >/dev/null || return
    ORDER=$(cat "$CHAIN"/audit/*.jsonl | jq -r 'select(.event == "order") | .order' | tail -n 1)
}

# record_release: a chain has an order, and $CHAIN/run/record the commands of a release.
record_release() {
    order_drill && proxied 0 || return
    releases 2 >/dev/null || return
    release_commands | tail -n "$COMMANDS_PER_RELEASE" >"$CHAIN/run/record"
}

begin_releases() {
    begin_chain plain || return
    [ ! -e "$CHAIN/run/record" ] || return 0
    record_release && count_commands && not_proxied
}

# releases COUNT [CONNECTIONS]
releases() {
    acts release sql1 "$1" "${2:-1}" "$ORDER"
}

# count_commands: how many commands a release takes, by the log of the proxy.
count_commands() {
    local i before after counts=()
    for ((i = 0; i < 3; i++)); do
        before=$(release_commands | wc -l)
        # One more than is counted, to begin with.
        releases 9 >/dev/null || return
        after=$(release_commands | wc -l)
        counts+=("$(calculate "($after - $before) / 10")")
    done
    result tpm_commands_per_release commands '<= 14' '' "${counts[@]}"
}

# bare SOCKET COUNT
bare() {
    "$BUILD/tests/bench/bench_tpm_replay" "$1" "$CHAIN/run/record" "$COMMANDS_PER_RELEASE" "$2"
}

# over_bare SOCKET COUNT ROUNDS: COUNT releases over each connection against as many bare ones.
over_bare() {
    local i alone whole
    ROUND_VALUES=() ROUND_OURS=() ROUND_THEIRS=()
    for ((i = 0; i < $3; i++)); do
        alone=$(bare "$1" $((CONNECTIONS * $2)) | jq .per_s) || return
        whole=$(releases "$2" "$CONNECTIONS" | jq .per_s) || return
        ROUND_OURS+=("$whole") ROUND_THEIRS+=("$alone")
        ROUND_VALUES+=("$(calculate "$whole / $alone")")
    done
}

bench_release_over_bare_tpm() {
    begin_releases && over_bare "$CHAIN/tpm/sock" "$(choose 15 10 1)" "$ROUNDS" || return
    result release_over_bare_tpm ratio '>= 0.6' \
        "$CONNECTIONS kept connections of one agent, against the TPM commands alone" \
        "${ROUND_VALUES[@]}"
    result releases_per_s 1/s '' '' "${ROUND_OURS[@]}"
    result bare_tpm_per_s 1/s '' '' "${ROUND_THEIRS[@]}"
}

bench_release_over_bare_slow_tpm() {
    begin_releases && proxied 10000 &&
        over_bare "$CHAIN/run/tpm" "$(choose 3 2 1)" "$(choose 5 3 1)" || return
    not_proxied || return
    result release_over_bare_slow_tpm ratio '>= 0.95' '10 ms more for each TPM command' \
        "${ROUND_VALUES[@]}"
}

bench_release_fresh() {
    local i rounds=()
    begin_releases || return
    for ((i = 0; i < ROUNDS; i++)); do
        rounds+=("$(acts fresh sql1 "$(choose 8 6 1)" 1 "$ORDER" | jq '.p50_us / 1000')") || return
    done
    result release_fresh_p50_ms ms '' \
        'new connection, full handshake, challenge, session, release, unwrapped' "${rounds[@]}"
}

# flooded MODE COMMAND...: while the agent of another replica asks as fast as it can.
flooded() {
    local mode=$1 flood status=0
    shift
    LOAD_NAMES=pki/agent-sql3 load_exec "$mode" "$CHAIN_PORT" '/v1/orders?wait=0' 8 60 \
        >"$CHAIN/run/flood" &
    flood=$!
    "$@" || status=1
    # It must not have ended before.
    kill "$flood" || status=1
    wait "$flood" 2>/dev/null || true
    return "$status"
}

bench_other_identity_delay() {
    local i alone requests handshakes by_requests=() by_handshakes=() count
    count=$(choose 10 8 1)
    begin_releases || return
    for ((i = 0; i < ROUNDS; i++)); do
        alone=$(releases "$count" | jq .p50_us) || return
        requests=$(flooded keepalive releases "$count" | jq .p50_us) || return
        handshakes=$(flooded handshakes releases "$count" | jq .p50_us) || return
        by_requests+=("$(calculate "$requests / $alone")")
        by_handshakes+=("$(calculate "$handshakes / $alone")")
    done
    result other_identity_delay_under_flood ratio '<= 1.5' \
        'a release while another identity sends requests over 8 connections' "${by_requests[@]}"
    result other_identity_delay_under_handshakes ratio '' \
        'the same while it makes new connections, 8 at a time' "${by_handshakes[@]}"
}

bench_start_to_ready() {
    local i before start_us rounds=()
    begin_chain plain || return
    for ((i = 0; i < ROUNDS; i++)); do
        end escrowd || return
        before=$(count_log escrowd '"ready": true')
        start_us=${EPOCHREALTIME/[.,]/}
        spawn escrowd "$BUILD/escrowd/escrowd" run --config "$CHAIN/escrowd.yaml"
        wait_log escrowd '"ready": true' $((before + 1)) || return
        rounds+=("$(calculate "(${EPOCHREALTIME/[.,]/} - $start_us) / 1000")")
    done
    result start_to_ready_ms ms '' 'with a log and a store that are there already' "${rounds[@]}"
}
