# SPDX-License-Identifier: Apache-2.0
# bash: promotions in the whole chain with real agents, and what the processes weigh.

# begin_promotions: agents watch, and $CHAIN/run/record has the commands of a release.
begin_promotions() {
    begin_chain agents || return
    [ ! -e "$CHAIN/run/record" ] || return 0
    # The first release of a version takes more commands than all later ones.
    proxied 0 && promote sql2 >/dev/null && promote sql1 >/dev/null || return
    release_commands | tail -n "$COMMANDS_PER_RELEASE" >"$CHAIN/run/record"
    not_proxied
}

# promote NODE: fails over to it; prints how long it took until its master key was usable, from the
# moment at which the database was writable and from the moment at which the agent first saw that
# the key does not open, in ms.
promote() {
    local name=${1^^} before since detected usable
    before=$(count_log "agent-$1" 'opens by itself again')
    sim failover "$name" >/dev/null && sim wait opens "$name" --timeout 60000 >/dev/null &&
        wait_log "agent-$1" 'opens by itself again' $((before + 1)) || return
    read -r since usable < <(sim state | jq -r --arg name "$name" \
        '.instances[$name] | "\(.primary_since_ms) \(.opened.at_ms)"')
    detected=$(sim log "$name" | jq --argjson since "$since" '[.statements[] |
        select(.at_ms >= $since and .login == "escrow_agent" and
               (.statement | contains("SIGNBYCERT")))][0].at_ms')
    echo "$(calculate "$usable - $since") $(calculate "$usable - $detected")"
}

# bare_ms: the steps that no program can leave out, each alone, added up.
bare_ms() {
    local node=$1 sql tpm handshake sync
    sql=$(acts sql "$node" 5 <<<"$PASSWORD" | jq .p50_us) || return
    tpm=$(bare "$CHAIN/tpm/sock" 5 | jq .p50_us) || return
    handshake=$(load handshakes "$CHAIN_PORT" /v1/health 1 0.2 | jq .p50_us) || return
    sync=$("$BUILD/tests/bench/bench_sync" "$CHAIN/run/sync" 5 | jq .p50_us) || return
    calculate "($sql + $tpm + $handshake + $sync) / 1000"
}

# Agents that poll every 100 ms see a replica that is RESOLVING for 200 ms on its way; one that is
# on it for 60 ms in all they often do not, and their worker starts when the promotion is over.
bench_promotion() {
    local i node usable detected bare phase
    local -A all_usable=() all_detected=() ratios=()
    local all_bare=()
    begin_promotions || return
    for ((i = 0; i < $(choose 60 18 2); i++)); do
        node=${CHAIN_NODES[$(((i + 1) % 3))]}
        phase=$(((i % 2) * 180 + 20))
        sim set resolving_ms "$phase" >/dev/null || return
        read -r usable detected < <(promote "$node") || return
        bare=$(bare_ms "$node") || return
        all_bare+=("$bare")
        all_usable[$phase]+=" $usable" all_detected[$phase]+=" $detected"
        ratios[$phase]+=" $(calculate "$detected / $bare")"
    done
    sim set resolving_ms 20 >/dev/null || return
    # shellcheck disable=SC2086 # lists of numbers
    {
        result promotion_to_usable_p50_ms ms '' 'agents poll every 100 ms' ${all_usable[20]}
        result promotion_to_usable_p99_ms ms '' 'the same rounds; of so few, the slowest' \
            "$(printf '%s\n' ${all_usable[20]} | sort -n | tail -n 1)"
        result promotion_seen_to_usable_ms ms '' 'RESOLVING for 200 ms before' ${all_usable[200]}
        result detected_to_usable_ms ms '' '' ${all_detected[20]}
        result detected_seen_to_usable_ms ms '' 'RESOLVING for 200 ms before' ${all_detected[200]}
        result bare_promotion_ms ms '' \
            'SQL login and batches, one handshake, the TPM commands, one fsync, each alone' \
            "${all_bare[@]}"
        result detected_to_usable_over_bare ratio '<= 1.5' \
            'on its way for 60 ms, often missed: most of it is the start of the worker then' \
            ${ratios[20]}
        result detected_seen_to_usable_over_bare ratio '<= 1.5' \
            'RESOLVING for 200 ms, which a poll sees: the worker waits, connected' ${ratios[200]}
    }
}

# The processes whose names match, as chain_processes gives them.
pids_of() {
    chain_processes | jq -r --arg pattern "$1" \
        'to_entries[] | select(.key | test($pattern)) | .value'
}

# weigh NAME AIM PATTERN COUNT NOTE: MiB of all processes of the pattern, for each of COUNT.
weigh() {
    local pids kib
    mapfile -t pids < <(pids_of "$3")
    kib=$(pss_kib "${pids[@]}") || return
    result "$1" MiB "$2" "$5" "$(calculate "$kib / 1024 / $4")"
}

bench_memory() {
    begin_promotions || return
    weigh pss_idle_mb '<= 20' '^escrowd( (keeper|front) .*)?$' 1 'supervisor, keeper and front' &&
        weigh pss_prober_mb '<= 6' '^escrowd prober' 3 'for each instance' &&
        weigh pss_agent_mb '<= 6' '^agent-' 3 'for each instance, with its prober'
}
