# SPDX-License-Identifier: Apache-2.0
# bash: many groups promoted at once: availability groups on the same three modelled instances, each
# with a database, a secret and an agent of its own. The agents are clients of the bench (acts.c),
# connected before, as the agent's workers are when they see a promotion coming; each is done when
# OPEN MASTER KEY takes the password that it was given. More than some hundred groups are too much
# for three instances: the watch asks each of their probers once a second about each.

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

# fail_over NODE COUNT: all groups at once, until all have it as primary.
fail_over() {
    seq -f "[\"failover\", \"$1\", \"--group\", \"storm-%.0f\"]" "$2" |
        socat -t 60 - "UNIX-CONNECT:$CHAIN/run/sqlsim" >"$CHAIN/log/failovers" || return
    sim wait primary "$1" --group "storm-$2" --timeout 60000 >/dev/null
}

# storm COUNT: fails over to SQL2 with so many agents ready; what bench_acts prints of it.
storm() {
    local storm
    rm -f "$CHAIN/log/storm"
    exec {STORM_IN}> >(acts storm sql2 1 "$1" >"$CHAIN/log/storm")
    storm=$!
    wait_log storm ready 1 300 && fail_over SQL2 "$1" || return
    echo >&"$STORM_IN"
    exec {STORM_IN}>&-
    wait "$storm" || return
    tail -n 1 "$CHAIN/log/storm"
}

# stormed NAME AIM COUNT SOCKET NOTE: COUNT groups at once, over as many bare releases.
stormed() {
    local alone whole
    alone=$(bare "$4" "$3") && whole=$(storm "$3") || return
    result "$1_over_bare" ratio "$2" "$5" \
        "$(calculate "$(jq .seconds <<<"$whole") / $(jq .seconds <<<"$alone")")"
    result "$1_last_ms" ms '' "the last of $3" "$(jq '.seconds * 1000' <<<"$whole")"
    result "$1_p50_ms" ms '' '' "$(jq '.p50_us / 1000' <<<"$whole")"
    result "$1_p99_ms" ms '' '' "$(jq '.p99_us / 1000' <<<"$whole")"
}

bench_storm() {
    local count
    count=$(choose 100 40 4)
    begin_storm "$count" || return
    stormed storm '<= 1.5' "$count" "$CHAIN/tpm/sock" \
        'clients in place of agents, connected before; all groups are on three instances' ||
        return
    fail_over SQL1 "$count" || return
    stormed storm_again '' "$count" "$CHAIN/tpm/sock" \
        'a second time: the TPM has verified the approvals and loaded the objects' || return
    count=$(choose 100 40 2)
    fail_over SQL1 "$count" && proxied 10000 || return
    stormed storm_slow '<= 1.1' "$count" "$CHAIN/run/tpm" '10 ms more for each TPM command' || return
    end_chain
}
