# SPDX-License-Identifier: Apache-2.0
# bash: escrowd's front against nginx, with the same certificates, on the same core.

LOAD_SECONDS=$(choose 2 1 0.2)
LOAD_THREADS=4

# begin_https: both servers on their core.
begin_https() {
    begin_chain plain || return
    pin_escrowd || return
    begin_nginx
}

# cpu_us PID...: processor time that they have used.
cpu_us() {
    local pid total=0
    for pid in "$@"; do
        total=$((total + $(awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$pid/stat")))
    done
    echo $((total * 1000000 / $(getconf CLK_TCK)))
}

# loaded MODE PORT PATH PID...: requests a second, and the processor time of each in these processes.
loaded() {
    local before after reply
    before=$(cpu_us "${@:4}")
    reply=$(load "$1" "$2" "$3" $LOAD_THREADS "$LOAD_SECONDS") || return
    after=$(cpu_us "${@:4}")
    jq -r --argjson us $((after - before)) '"\(.per_s) \($us / .count)"' <<<"$reply"
}

# against_nginx MODE: rounds of the quotients of requests a second, and of processor time.
against_nginx() {
    local i ours theirs ours_us theirs_us nginx escrowd
    begin_https || return
    mapfile -t nginx < <(pgrep -P "$NGINX_PID")
    mapfile -t escrowd < <(pgrep -P "${CHAIN_PIDS[escrowd]}")
    ROUND_VALUES=() ROUND_OURS=() ROUND_THEIRS=() ROUND_CPU=()
    for ((i = 0; i < ROUNDS; i++)); do
        read -r theirs theirs_us < <(loaded "$1" "$NGINX_PORT" / "${nginx[@]}") || return
        read -r ours ours_us < <(loaded "$1" "$CHAIN_PORT" /v1/health "${escrowd[@]}") || return
        ROUND_OURS+=("$ours") ROUND_THEIRS+=("$theirs")
        ROUND_VALUES+=("$(calculate "$ours / $theirs")")
        ROUND_CPU+=("$(calculate "if $ours_us == 0 then 0 else $theirs_us / $ours_us end")")
    done
}

bench_handshake_over_nginx() {
    against_nginx handshakes || return
    result handshake_over_nginx ratio '>= 0.95' \
        'full mutual TLS 1.3 handshake and a small GET; server on one core' "${ROUND_VALUES[@]}"
    result handshake_cpu_over_nginx ratio '' \
        'processor time of nginx for a handshake against that of all processes of escrowd' \
        "${ROUND_CPU[@]}"
    result handshakes_per_s 1/s '' '' "${ROUND_OURS[@]}"
    result handshakes_per_s_nginx 1/s '' '' "${ROUND_THEIRS[@]}"
}

bench_keepalive_over_nginx() {
    against_nginx keepalive || return
    result keepalive_over_nginx ratio '' \
        'GET /v1/health through front and keeper, against a constant of nginx' "${ROUND_VALUES[@]}"
    result keepalive_per_s 1/s '' '' "${ROUND_OURS[@]}"
}

# idle_kib PORT PATH COUNT PID...: KiB a connection.
idle_kib() {
    local before after
    before=$(pss_kib "${@:4}") && begin_load idle "$1" "$2" 1 "$3" && after=$(pss_kib "${@:4}") ||
        return
    end_load
    calculate "($after - $before) / $3"
}

bench_idle_connection_over_nginx() {
    local i ours theirs values=() all_ours=() count nginx escrowd
    count=$(choose 2000 500 20)
    # Each identity has a share of the connections.
    local LOAD_NAMES='crowd*40'
    for ((i = 0; i < $(choose 3 1 1); i++)); do
        # Memory that was freed is not given back: each round needs new processes.
        end_nginx
        begin_https && make_crowd "$CROWD" || return
        mapfile -t nginx < <(pgrep -P "$NGINX_PID")
        mapfile -t escrowd < <(pgrep -P "${CHAIN_PIDS[escrowd]}")
        load handshakes "$NGINX_PORT" / 1 0.2 >/dev/null || return
        load handshakes "$CHAIN_PORT" /v1/health 1 0.2 >/dev/null || return
        theirs=$(idle_kib "$NGINX_PORT" / "$count" "${nginx[@]}") || return
        ours=$(idle_kib "$CHAIN_PORT" /v1/health "$count" "${escrowd[@]}") || return
        values+=("$(calculate "$ours / $theirs")") all_ours+=("$ours")
    done
    result idle_connection_over_nginx ratio '<= 1.15' \
        "memory (PSS) of each of $count idle connections" "${values[@]}"
    result idle_connection_kib KiB '' '' "${all_ours[@]}"
}
