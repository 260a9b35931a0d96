# SPDX-License-Identifier: Apache-2.0
# bash: what every bench needs: a chain, peers, and a place for results. bench sets BUILD and MODE.

# shellcheck source=tests/integration/lib/chain.bash
. tests/integration/lib/chain.bash

ROOT=$(mktemp -d "${TMPDIR:-/tmp}/escrow-bench.XXXXXX")
chmod 0755 "$ROOT"
mkdir "$ROOT/results"
NGINX='' NGINX_PID=''
CHAIN_KIND=''
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    end_chain >/dev/null 2>&1 || true
    rm -rf "$ROOT"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say() {
    printf '%s\n' "$*" >&2
}

# choose FULL QUICK SMOKE: the size for this run.
choose() {
    case $MODE in
    full) echo "$1" ;;
    quick) echo "$2" ;;
    smoke) echo "$3" ;;
    esac
}

# How many rounds the benches make.
# shellcheck disable=SC2034
ROUNDS=$(choose 7 3 1)

# The server on one core and whoever asks it on another one; nothing where there is only one core.
if [ "$(nproc)" -ge 2 ] && command -v taskset >/dev/null; then
    ON_SERVER=(taskset -c 0) ON_CLIENT=(taskset -c 1)
else
    ON_SERVER=() ON_CLIENT=()
fi

# begin_chain KIND: ends the chain of another kind and starts one of this kind, unless it runs.
#   plain   three replicas ($REPLICAS), escrowd with one secret, nobody asks; READABLE is
#           chain.bash's CHAIN_READABLE
#   agents  the same, with an agent for each replica
begin_chain() {
    [ "$CHAIN_KIND" != "$1" ] || return 0
    end_chain || return
    CHAIN=$(mktemp -d "$ROOT/chain.XXXXXX")
    chmod 0755 "$CHAIN"
    CHAIN_PIDS=() CHAIN_PORT='' CHAIN_TPM='' CHAIN_KIND=$1
    CHAIN_RULES=$'brake: 1000\nretries: 100' CHAIN_READABLE=${READABLE:-}
    CHAIN_LIMITS='{connections: 4000, connections_per_identity: 64, requests: 3000, request: 300s}'
    PASSWORD=$(openssl rand -base64 24)
    chain_prepare "${REPLICAS:-3}" && chain_sqlsim <<<"$PASSWORD" && chain_member && chain_escrowd &&
        chain_publish && chain_deposit <<<"$PASSWORD" || return
    [ "$1" != agents ] || chain_agents
}

end_chain() {
    [ -n "$CHAIN_KIND" ] || return 0
    CHAIN_KIND=''
    end_nginx
    chain_end
}

# restart_escrowd: on the same port, with the settings of now; until its TPM has done all that it
# can do of releases before anybody asks for one.
restart_escrowd() {
    local before
    end escrowd || return
    before=$(count_log escrowd 'ready for releases')
    chain_escrowd && wait_log escrowd 'ready for releases' $((before + 1)) 300
}

# pin_escrowd: a new one, all of it on the servers' core.
pin_escrowd() {
    local pid
    restart_escrowd || return
    [ "${#ON_SERVER[@]}" -eq 0 ] ||
        for pid in "${CHAIN_PIDS[escrowd]}" $(pgrep -P "${CHAIN_PIDS[escrowd]}"); do
            taskset -p -c 0 "$pid" >/dev/null || return
        done
}

# begin_proxy DELAY-US: a TPM that answers so much later is at $CHAIN/run/tpm, and the commands that
# come there are in $CHAIN/run/commands.
begin_proxy() {
    rm -f "$CHAIN/run/tpm"
    "$BUILD/tests/bench/bench_tpm_proxy" "$CHAIN/run/tpm" "$CHAIN/tpm/sock" "$1" \
        "$CHAIN/run/commands" >"$CHAIN/log/proxy" 2>&1 3>&- &
    CHAIN_PIDS[proxy]=$!
    wait_log proxy ready
}

# proxied DELAY-US: that is escrowd's from now on.
proxied() {
    begin_proxy "$1" || return
    CHAIN_TPM=$CHAIN/run/tpm
    restart_escrowd
}

not_proxied() {
    CHAIN_TPM=''
    restart_escrowd || return
    end proxy || true
}

# acts MODE NAME COUNT [CONNECTIONS [ORDER]]: prints one JSON object; see acts.c.
acts() {
    local sql_port=0
    [ "$2" = admin ] || sql_port=$(sql_port "$2")
    (cd "$CHAIN" && "$BUILD/tests/bench/bench_acts" "$1" "$2" "$CHAIN_PORT" "$sql_port" "${@:3}")
}

# make_crowd COUNT: as many agents, in $CHAIN/crowd; not in the roster yet.
make_crowd() {
    [ ! -d "$CHAIN/crowd" ] || return 0
    mkdir "$CHAIN/crowd"
    "$BUILD/tests/bench/bench_crowd" "$CHAIN/ca" "$CHAIN/crowd" "$CHAIN_GROUP" sql1 "$1"
}

# begin_load ARGUMENT...: load in the background, until it says that it is ready; end_load ends it.
begin_load() {
    rm -f "$CHAIN/log/load"
    exec {LOAD_IN}> >(load_exec "$@" >"$CHAIN/log/load")
    LOAD_PID=$!
    wait_log load ready 1 120
}

end_load() {
    exec {LOAD_IN}>&-
    wait "$LOAD_PID" || true
}

# load MODE PORT PATH THREADS SECONDS|COUNT: prints one JSON object; see load.c.
load() {
    (load_exec "$@")
}

# load_exec: in place of this shell, so that it can be ended by its process id.
load_exec() {
    local names=${LOAD_NAMES:-pki/agent-sql1}
    cd "$CHAIN" || exit
    exec "${ON_CLIENT[@]}" "$BUILD/tests/bench/bench_load" "$1" ca/ca.pem "$names" "${@:2}"
}

# fetch_nginx: Debian's, unpacked and not installed: installing it would start a server.
fetch_nginx() {
    [ -z "$NGINX" ] || return 0
    NGINX=$(command -v nginx) && return
    NGINX=$PWD/build/peers/usr/sbin/nginx
    [ -x "$NGINX" ] && return
    mkdir -p build/peers
    (cd build/peers && apt-get -q download nginx && dpkg-deb -x nginx_*.deb . && rm nginx_*.deb) \
        >build/peers/log 2>&1 || {
        say "bench: nginx cannot be fetched (apt-get download nginx):"
        cat build/peers/log >&2
        NGINX=''
        return 1
    }
}

# begin_nginx: NGINX_PORT with the certificates of the chain, one worker, no tickets.
begin_nginx() {
    [ -z "$NGINX_PID" ] || return 0
    fetch_nginx || return
    NGINX_PORT=$("$BUILD/tests/bench/bench_load" port)
    mkdir -p "$CHAIN/nginx"
    cat >"$CHAIN/nginx/nginx.conf" <<TEXT
worker_processes 1;
daemon off;
pid $CHAIN/nginx/pid;
error_log $CHAIN/log/nginx;
$([ "$(id -u)" -ne 0 ] || echo 'user root;')
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    client_body_temp_path $CHAIN/nginx;
    proxy_temp_path $CHAIN/nginx;
    fastcgi_temp_path $CHAIN/nginx;
    uwsgi_temp_path $CHAIN/nginx;
    scgi_temp_path $CHAIN/nginx;
    server {
        listen 127.0.0.1:$NGINX_PORT ssl backlog=512;
        ssl_certificate $CHAIN/pki/escrowd-e1.pem;
        ssl_certificate_key $CHAIN/pki/escrowd-e1.key;
        ssl_client_certificate $CHAIN/ca/ca.pem;
        ssl_crl $CHAIN/ca/crl.pem;
        ssl_verify_client on;
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve prime256v1;
        ssl_session_tickets off;
        ssl_session_cache off;
        ssl_conf_command NumTickets 0;
        location / {
            default_type application/json;
            return 200 '{"ready":true,"reasons":[]}';
        }
    }
}
TEXT
    "${ON_SERVER[@]}" "$NGINX" -p "$CHAIN/nginx" -c "$CHAIN/nginx/nginx.conf" \
        -e "$CHAIN/log/nginx" >"$CHAIN/log/nginx-start" 2>&1 3>&- &
    NGINX_PID=$!
    timeout 10 bash -c "until : </dev/tcp/127.0.0.1/$NGINX_PORT; do kill -0 $NGINX_PID; done" \
        2>/dev/null
}

end_nginx() {
    [ -n "$NGINX_PID" ] || return 0
    kill "$NGINX_PID" 2>/dev/null || true
    wait "$NGINX_PID" 2>/dev/null || true
    NGINX_PID=''
}

# pss_kib PID...: the memory that these processes do not share with others, and their part of what
# they share.
pss_kib() {
    local pid total=0 kib
    for pid in "$@"; do
        kib=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup") || return
        total=$((total + kib))
    done
    echo "$total"
}

# calculate EXPRESSION: of numbers, with jq's digits.
calculate() {
    jq -n "$1"
}

# result NAME UNIT AIM NOTE ROUND...: AIM is "<= N", ">= N" or empty.
result() {
    local name=$1 unit=$2 aim=$3 note=$4
    shift 4
    printf '%s\n' "$@" | jq -s -c --arg name "$name" --arg unit "$unit" --arg aim "$aim" \
        --arg note "$note" '
        def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
        (map(. * 1000 | round / 1000)) as $rounds | (median * 1000 | round / 1000) as $value |
        ($aim | split(" ")) as $parts |
        {key: $name, value: ({value: $value, unit: $unit} +
            (if $aim == "" then {} else {aim: $aim, met: (
                ($parts[1] | tonumber) as $bound |
                if $parts[0] == "<=" then $value <= $bound else $value >= $bound end)} end) +
            {rounds: $rounds} + (if $note == "" then {} else {note: $note} end))}' \
        >"$ROOT/results/$name"
}

print_results() {
    [ -n "$(ls "$ROOT/results")" ] || return 0
    find "$ROOT/results" -type f -printf '%T@ %p\n' | sort -n | cut -d ' ' -f 2- |
        xargs cat | jq -s --arg kernel "$(uname -r)" --arg cores "$(nproc)" --arg mode "$MODE" '
            {machine: {cores: ($cores | tonumber), kernel: $kernel}, run: $mode} +
            {results: from_entries}' >"$OUT"
    jq -r '(["", "value", "unit", "aim", "", "rounds (lowest, highest)"]),
        (.results | to_entries[] | .value as $result | [.key, ($result.value | tostring),
         $result.unit, ($result.aim // ""),
         (if $result.met == null then "" elif $result.met then "met" else "MISSED" end),
         "\($result.rounds | length) (\($result.rounds | min), \($result.rounds | max))"])
        | @tsv' "$OUT" | column -t -s "$(printf '\t')"
}
