# SPDX-License-Identifier: Apache-2.0
# bash: many groups promoted at once: availability groups on the same three modelled instances, each
# with a database, a secret and an agent of its own. The agents are clients of the bench (acts.c),
# connected before, as the agent's workers are when they see a promotion coming; each is done when
# the master key of its database opens by itself, and the model is asked whether all do. They run on
# this machine, beside escrowd: what they cost is in the times, which with a TPM that is as fast as
# swtpm is a good part.

# begin_storm COUNT: a chain with so many groups more, storm-1 ..., and their agents in $CHAIN/crowd.
begin_storm() {
    local group
    local -a groups=() host=()
    end_chain || return
    mapfile -t groups < <(seq -f 'storm-%.0f' "$1")
    CHAIN_GROUPS="${groups[*]}" begin_chain plain || return
    record_release && not_proxied || return
    mkdir "$CHAIN/crowd"
    "$BUILD/tests/bench/bench_crowd" "$CHAIN/ca" "$CHAIN/crowd" storm sql2 "$1" each &&
        enroll_crowd || return
    for group in "${groups[@]}"; do
        host+=(--group "$group")
        [ "${#host[@]}" -lt 120 ] || { approve_hosts "${host[@]}" && host=(); } || return
    done
    [ "${#host[@]}" -eq 0 ] || approve_hosts "${host[@]}" || return
    ctl_offline authority approve-node --key "$CHAIN/keys/authority" --roster "$CHAIN/docs/roster" \
        --member "$CHAIN/escrowd/member.json" --out "$CHAIN/docs/crowd" >/dev/null &&
        ctl publish "$CHAIN/docs/crowd" >/dev/null || return
    acts deposits admin "$1" <<<"$PASSWORD" >/dev/null
}

# approve_hosts --group NAME ...
approve_hosts() {
    ctl_offline authority approve-host --key "$CHAIN/keys/authority" \
        --member "$CHAIN/escrowd/member.json" --out "$CHAIN/docs/hosts" "$@" >/dev/null &&
        ctl publish "$CHAIN/docs/hosts" >/dev/null
}

# fail_over NODE COUNT: so many groups at once, until all have it as primary.
fail_over() {
    seq -f "[\"failover\", \"$1\", \"--group\", \"storm-%.0f\"]" "$2" |
        socat -t 60 - "UNIX-CONNECT:$CHAIN/run/sqlsim" >"$CHAIN/log/failovers" || return
    sim wait primary "$1" --group "storm-$2" --timeout 60000 >/dev/null
}

# open_on NODE: of how many groups of the storm the master key opens there by itself.
open_on() {
    sim state | jq --arg node "$1" '
        [.databases[] | select(.database | startswith("storm-")) |
         select(.opens_on | index($node))] | length'
}

# exec_storm COUNT: in place of this shell, so that it can be ended by its process id.
exec_storm() {
    cd "$CHAIN" || exit
    exec "$BUILD/tests/bench/bench_acts" storm sql2 "$CHAIN_PORT" "$(sql_port sql2)" 1 "$1"
}

# cpu_us PID...: the processor time that their threads have had.
cpu_us() {
    local pid
    local -a threads=()
    for pid in "$@"; do
        threads+=(/proc/"$pid"/task/*/schedstat)
    done
    awk '{ ns += $1 } END { printf "%.0f\n", ns / 1000 }' "${threads[@]}"
}

# storm_cpu: {"escrowd", "tpm", "servers"}: the processor time of escrowd's processes, of the TPM and
# of the instances.
storm_cpu() {
    local roles
    mapfile -t roles < <(pgrep -P "${CHAIN_PIDS[escrowd]}")
    printf '{"escrowd": %s, "tpm": %s, "servers": %s}\n' \
        "$(cpu_us "${CHAIN_PIDS[escrowd]}" "${roles[@]}")" "$(cpu_us "$(cat "$CHAIN/tpm/pid")")" \
        "$(cpu_us "${CHAIN_PIDS[sqlsim]}")"
}

# storm COUNT: fails over to SQL2 with so many agents ready; STORM is what bench_acts prints of it,
# and what of storm_cpu has gone to it, the failovers included.
storm() {
    local pid before status=0
    rm -f "$CHAIN/log/storm"
    exec {STORM_IN}> >(exec_storm "$1" >"$CHAIN/log/storm" 2>"$CHAIN/log/storm-trouble")
    pid=$!
    wait_log storm ready 1 300 && before=$(storm_cpu) && fail_over SQL2 "$1" &&
        echo >&"$STORM_IN" || status=$?
    exec {STORM_IN}>&-
    timeout 400 tail --pid="$pid" -s 0.2 -f /dev/null || kill "$pid"
    wait "$pid" && [ "$status" -eq 0 ] && [ "$(open_on SQL2)" -ge "$1" ] || return
    STORM=$({ tail -n 2 "$CHAIN/log/storm" && echo "$before" && storm_cpu; } | jq -c -s '
        (.[2] as $before | .[3] | with_entries(.value -= $before[.key])) +
        {agents: .[0].cpu_us} + .[1]')
}

# stormed NAME AIM COUNT SECONDS NOTE: COUNT groups at once, over the time of as many bare releases.
# With a proxy before the TPM also how many commands each took: a time depends on the machine.
stormed() {
    local before part commands=0
    before=$(wasted)
    [ -z "$CHAIN_TPM" ] || commands=$(release_commands | wc -l)
    storm "$3" || return
    [ -z "$CHAIN_TPM" ] ||
        result "$1_commands" commands '' 'of the TPM, for each release' \
            "$(calculate "($(release_commands | wc -l) - $commands) / $3")"
    result "$1_over_bare" ratio "$2" "$5" \
        "$(calculate "$(jq .seconds <<<"$STORM") / $4")"
    result "$1_last_ms" ms '' "the last of $3" "$(jq '.seconds * 1000' <<<"$STORM")"
    result "$1_p50_ms" ms '' '' "$(jq '.p50_us / 1000' <<<"$STORM")"
    result "$1_p99_ms" ms '' '' "$(jq '.p99_us / 1000' <<<"$STORM")"
    for part in escrowd tpm servers agents; do
        result "$1_cpu_$part" ms '' 'of a core, a release' \
            "$(jq ".$part / .count / 1000" <<<"$STORM")"
    done
    result "$1_wasted" decisions '' 'that were recorded and let nothing out' \
        $(($(wasted) - before))
}

wasted() {
    cat "$CHAIN"/audit/*.jsonl | grep -c '"event":"unfinished"' || true
}

# Bare releases only before a start: while they have the TPM the keeper has not, may take it for lost,
# and then forgets what it has loaded.
bench_storm() {
    local count alone
    count=$(choose 500 60 4)
    begin_storm "$count" && alone=$(bare "$CHAIN/tpm/sock" "$count" | jq .seconds) || return
    restart_escrowd || return
    stormed storm '<= 1.5' "$count" "$alone" \
        'the first release of each, after a start and the warm-up: 14 commands each' || return
    fail_over SQL1 "$count" || return
    stormed storm_again '<= 1.5' "$count" "$alone" \
        'a second time, 14 commands each; 500 clients and three instances are on the same cores' ||
        return
    fail_over SQL1 "$count" && begin_proxy 10000 || return
    # What is left beside the TPM does not grow with the groups; 500 would take more than five minutes.
    count=$(choose 100 10 2)
    alone=$(bare "$CHAIN/run/tpm" "$count" | jq .seconds) || return
    CHAIN_TPM=$CHAIN/run/tpm
    restart_escrowd || return
    stormed storm_slow_first '<= 1.1' "$count" "$alone" \
        '10 ms more for each TPM command, the first release of each after a start and the warm-up' ||
        return
    fail_over SQL1 "$count" || return
    stormed storm_slow '<= 1.1' "$count" "$alone" \
        '10 ms more for each TPM command' || return
    end_chain
}

# begin_agent COUNT: a chain with agents, whose group has so many databases.
begin_agent() {
    local database
    end_chain || return
    CHAIN_DATABASES=$(seq -s ' ' -f 'd%.0f' 2 "$1")
    begin_chain agents || return
    for database in $CHAIN_DATABASES; do
        chain_deposit "$database" <<<"$PASSWORD" || return
    done
}

# One agent, with one identity: from the failover until the last of its databases has opened.
bench_storm_agent() {
    local i node count before start opened='the master key opens by itself again'
    local -a times=()
    count=$(choose 32 32 4)
    begin_agent "$count" || return
    for ((i = 0; i < ROUNDS; i++)); do
        node=${CHAIN_NODES[$(((i + 1) % 2))]}
        before=$(count_log "agent-$node" "$opened")
        start=${EPOCHREALTIME/./}
        sim failover "${node^^}" >/dev/null &&
            wait_log "agent-$node" "$opened" "$((before + count))" 120 || return
        times+=("$(calculate "(${EPOCHREALTIME/./} - $start) / 1000")")
    done
    result storm_agent_ms ms '' "one agent, $count databases of a group, twelve workers at once" \
        "${times[@]}"
    end_chain
    CHAIN_DATABASES=''
}
