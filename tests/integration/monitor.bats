#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# /livez, /readyz and /metrics of the real escrowd on a real swtpm: what each fault looks like to
# who watches, and what the local socket refuses.

bats_require_minimum_version 1.5.0

setup() {
    load escrowd.bash
    load member.bash
    member_new
}

teardown() {
    exec 8>&-
    escrowd_stop
    swtpm_stop
    umount "$BATS_TEST_TMPDIR/audit" 2>/dev/null || true
    run ! grep -E 'AddressSanitizer|LeakSanitizer|runtime error:' "$LOG"
}

# start: escrowd with a monitor on a free port.
start() {
    echo 'monitor: {address: 127.0.0.1, port: 0}' >>"$CONFIG"
    escrowd_start
    MONITOR=127.0.0.1:$(jq .monitor_port <<<"$READY_LINE")
}

# watch PATH [CURL-ARGUMENT...]: sets HTTP, BODY and HEAD.
watch() {
    local path=$1
    shift
    HTTP=$(curl --silent --max-time 10 --output "$BATS_TEST_TMPDIR/body" \
        --dump-header "$BATS_TEST_TMPDIR/head" --write-out '%{http_code}' "$@" \
        "http://$MONITOR$path") || return 1
    BODY=$(cat "$BATS_TEST_TMPDIR/body")
    HEAD=$(tr -d '\r' <"$BATS_TEST_TMPDIR/head")
}

# check NAME STATUS [REASON]: /readyz says so of this check; what else fails does not matter.
check() {
    watch /readyz
    jq -e --arg name "$1" --arg status "$2" --arg reason "${3:-}" '.checks[] | select(.name == $name)
        | .status == $status and (.reason // "") == $reason' <<<"$BODY"
}

# failing: the names of the checks that fail, and what the endpoints answer.
failing() {
    watch /livez
    [ "$HTTP" = 200 ] || return 1
    watch /readyz
    [ "$HTTP" = 503 ] || return 1
    jq -r '[.checks[] | select(.status == "fail") | .name] | join(" ")' <<<"$BODY"
}

# metric NAME...: the values of samples, a line each.
metric() {
    curl --silent --max-time 10 "http://$MONITOR/metrics" |
        "$BATS_TEST_DIRNAME/prometheus.py" "$@"
}

# says CHUNK...: a raw connection (8) with these bytes sent; what comes back goes to $output.
says() {
    exec 8<>"/dev/tcp/${MONITOR%:*}/${MONITOR#*:}"
    # One write: what is refused early would break the second.
    printf '%b' "$@" >"$BATS_TEST_TMPDIR/bytes"
    cat "$BATS_TEST_TMPDIR/bytes" >&8
    run timeout 10 cat <&8
    exec 8>&-
}

@test "every check has its line; each fault shows as what it is; livez stays" {
    init
    start
    watch /readyz
    [ "$(jq -c '[.checks[].name]' <<<"$BODY")" = \
        '["log","store","clock","roster","tpm","policy","probers","alert","groups","keeper","certificate"]' ]
    jq -e '[.checks[] | keys] | unique == [["detail", "name", "reason", "status"]]' <<<"$BODY"
    [ "$(failing)" = roster ]
    check roster fail no_roster
    grep -q '^Retry-After: ' <<<"$HEAD"
    check probers warn prober_away

    swtpm_stop
    wait_for 30 check tpm fail tpm_unavailable
    [ "$(failing)" = "roster tpm" ]
    swtpm_start
    wait_for 30 check tpm ok

    # Hung, then gone, then a new one.
    keeper=$(role_pid keeper)
    kill -STOP "$keeper"
    [ "$(failing)" = keeper ]
    jq -e '.checks[0] == {name: "log", status: "unknown", reason: "role_down",
        detail: "the keeper does not say"}' "$BATS_TEST_TMPDIR/body"
    [ "$(metric keeper_up ready)" = $'0\n0' ]
    kill -KILL "$keeper"
    wait_for 30 check keeper ok
    [ "$(metric keeper_up keeper_connections_total front_connections_total)" = $'1\n2\n1' ]
}

@test "a full disk" {
    [ "$(id -u)" -eq 0 ] || skip "needs root to mount a small tmpfs"
    init
    mount -t tmpfs -o size=1m,mode=0755 tmpfs "$BATS_TEST_TMPDIR/audit" || skip "cannot mount"
    chown --reference="$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/audit"
    head -c 2m /dev/zero >"$BATS_TEST_TMPDIR/audit/filler" || true
    start
    check log fail log_unavailable
    jq -r '.checks[] | select(.name == "log") | .detail' <<<"$BODY" | grep -q 'No space left'
    [ "$(failing)" = "log roster" ]
    rm "$BATS_TEST_TMPDIR/audit/filler"
    wait_for 30 check log warn log_space_low
}

@test "a certificate that expires soon, its successor, and one that has expired" {
    init
    pki_certificate server serverAuth "URI:spiffe://test/escrowd/a,IP:127.0.0.1" 29
    start
    check certificate warn own_certificate_expiring
    serial=$(openssl x509 -noout -serial -in "$PKI/server.pem" | cut -d = -f 2)
    jq -r '.checks[] | select(.name == "certificate") | .detail' <<<"$BODY" |
        grep -qi "^serial $serial, not after 20"
    pki_certificate next serverAuth "URI:spiffe://test/escrowd/a,IP:127.0.0.1" 90
    mv "$PKI/next.key" "$PKI/server.key"
    mv "$PKI/next.pem" "$PKI/server.pem"
    wait_for 30 check certificate ok
    not_after=$(date -d "$(openssl x509 -noout -enddate -in "$PKI/server.pem" | cut -d = -f 2)" +%s)
    watch /metrics
    grep -qx "escrowd_tls_certificate_not_after_timestamp_seconds $not_after" <<<"$BODY"

    escrowd_stop
    rm "$BATS_TEST_TMPDIR/ready"
    sed -i '/^monitor:/d' "$CONFIG"
    pki_certificate server serverAuth "URI:spiffe://test/escrowd/a,IP:127.0.0.1" -1
    start
    check certificate fail own_certificate_expired
    [ "$(failing)" = "roster certificate" ]
}

@test "a revocation list past its next update, where it is used and where it refuses" {
    init
    stale() {
        openssl ca -config "$PKI/ca.conf" -gencrl -crl_lastupdate 20240101000000Z \
            -crl_nextupdate 20240102000000Z -keyfile "$PKI/ca.key" -cert "$PKI/ca.pem" \
            -out "$PKI/crl.new" 2>/dev/null
        chmod 0644 "$PKI/crl.new"
        mv "$PKI/crl.new" "$PKI/crl.pem"
    }
    stale
    start
    check certificate warn crl_stale
    pki_crl
    wait_for 30 check certificate ok

    escrowd_stop
    rm "$BATS_TEST_TMPDIR/ready"
    sed -i '/^monitor:/d; s,^  crl_file:.*,&\n  crl_stale: refuse,' "$CONFIG"
    start
    check certificate ok
    stale
    wait_for 30 check certificate fail crl_stale
    [ "$(failing)" = "roster certificate" ]
    request admin /v1/health
    [ "$HTTP" = 000 ]
}

@test "the metrics are what Prometheus takes; a client shows in them" {
    init
    start
    metric >"$BATS_TEST_TMPDIR/faults"
    [ ! -s "$BATS_TEST_TMPDIR/faults" ]
    watch /metrics
    grep -qix 'content-type: text/plain; version=0.0.4; charset=utf-8' <<<"$HEAD"
    run ! grep -E 'node-a|ssis|SSISDB|spiffe' <<<"$BODY"
    id=$(printf %s ssis | sha256sum | cut -c 1-8)
    [ "$(metric 'http_requests_total{route="health",status="5xx"}' "group_epoch{group=\"$id\"}")" = $'0\n0' ]
    request admin /v1/health
    request admin /v1/nothing
    request admin /v1/status
    run ! curl --silent --cacert "$PKI/ca.pem" "https://127.0.0.1:$PORT/v1/health"
    values=$(metric 'http_requests_total{route="health",status="5xx"}' \
        'http_requests_total{route="none",status="4xx"}' 'refusals_total{reason="no_such_path"}' \
        'http_request_duration_seconds_count{route="health"}' connections_accepted_total \
        connections_open tls_handshake_failures_total 'records_total{event="start"}')
    [ "$values" = $'1\n1\n1\n1\n4\n0\n1\n1' ]
    [ "$(metric front_resident_memory_bytes | xargs printf '%.0f')" -gt 1000000 ]
    [ "$(metric keeper_resident_memory_bytes | xargs printf '%.0f')" -gt 1000000 ]
    [ "$(metric tpm_commands_total | xargs printf '%.0f')" -gt 5 ]
    [ "$(metric keeper_open_fds | xargs printf '%.0f')" = "$(find "/proc/$(role_pid keeper)/fd" -type l | wc -l)" ]
}

@test "nothing but three paths, by GET and HEAD, in strict HTTP" {
    init
    start
    for path in / /v1/health /v1/status /v1/release /readyz/ /readyzz /metrics/x //readyz; do
        watch "$path"
        [ "$HTTP" = 404 ]
    done
    watch '/livez?verbose'
    [ "$HTTP" = 200 ]
    watch /metrics --head
    [ "$HTTP" = 200 ] && [ -z "$(sed '1,/^$/d' <<<"$BODY")" ]
    for method in POST PUT DELETE OPTIONS BREW; do
        watch /readyz --request "$method"
        [ "$HTTP" = 405 ]
        grep -qx 'Allow: GET, HEAD' <<<"$HEAD"
    done
    says 'GET /livez HTTP/1.0\r\n\r\n'
    [[ $output == "HTTP/1.1 200 "* ]]
    for wrong in 'GET /livez HTTP/1.1\n\n' 'GET  /livez HTTP/1.1\r\n\r\n' 'GET /livez\r\n\r\n' \
        'GET /livez HTTP/2.0\r\n\r\n' 'GET /livez HTTP/1.1 \r\n\r\n' '\r\nGET /livez HTTP/1.1\r\n\r\n' \
        'GET /livez HTTP/1.1\r\nA: b\r\n c\r\n\r\n' 'GET /liv\0ez HTTP/1.1\r\n\r\n' \
        "GET /livez HTTP/1.1\r\nA: $(printf '%04072d' 0)"; do
        says "$wrong"
        [[ $output == "HTTP/1.1 400 "* ]]
    done
    # One answer a connection, whatever is pipelined.
    says 'GET /livez HTTP/1.1\r\n\r\nGET /livez HTTP/1.1\r\n\r\n'
    [ "$(grep -c '^HTTP' <<<"$output")" = 1 ]
    # And nothing of it behind TLS, to whomever.
    for path in /livez /readyz /metrics; do
        request admin "$path"
        [ "$HTTP" = 404 ]
        run ! curl --silent --cacert "$PKI/ca.pem" "https://127.0.0.1:$PORT$path"
        [ -z "$output" ]
    done
}

@test "silent connections hold their place for seconds, not for ever" {
    init
    start
    fds=()
    for _ in {1..20}; do
        exec {fd}<>"/dev/tcp/${MONITOR%:*}/${MONITOR#*:}"
        fds+=("$fd")
    done
    # Sixteen are in; nobody else is, until their deadline.
    run -28 curl --silent --max-time 1 "http://$MONITOR/livez"
    watch /livez
    [ "$HTTP" = 200 ]
    # Clients have a door of their own.
    request admin /v1/health
    [ "$HTTP" = 503 ]
    for fd in "${fds[@]}"; do
        exec {fd}>&-
    done
}

@test "whoever is refused over and over leaves a few lines" {
    init
    start
    (
        BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR/foreign
        mkdir "$BATS_TEST_TMPDIR"
        pki_new
        pki_client agent1
    )
    foreign=$BATS_TEST_TMPDIR/foreign/pki/agent1
    for _ in {1..12}; do
        run ! curl --silent --cacert "$PKI/ca.pem" --cert "$foreign.pem" --key "$foreign.key" \
            "https://127.0.0.1:$PORT/v1/health"
    done
    wait_for 30 grep -q 'refused [0-9]* times' "$LOG"
    [ "$(metric tls_handshake_failures_total)" = 12 ]
    [ "$(grep -c 'the certificate of .* was refused' "$LOG")" -le 10 ]
    [ "$(grep -c 'refused [0-9]* times' "$LOG")" -le 10 ]
}

@test "on a Unix socket, for root or a group; an abandoned one is replaced" {
    init
    socket=$BATS_TEST_TMPDIR/monitor.sock
    echo "monitor: {socket: $socket}" >>"$CONFIG"
    escrowd_start
    [ "$READY_LINE" = "{\"ready\": true, \"port\": $PORT}" ]
    [ "$(stat -c '%a %g' "$socket")" = "600 $(id -g)" ]
    [ "$(curl --silent --unix-socket "$socket" http://x/livez)" = '{"alive":true}' ]
    escrowd_stop
    [ "$(id -u)" -eq 0 ] || return 0
    sed -i "s|^monitor:.*|monitor: {socket: $socket, group: '61009'}|" "$CONFIG"
    rm "$BATS_TEST_TMPDIR/ready"
    escrowd_start
    [ "$(stat -c '%a %u %g' "$socket")" = "660 0 61009" ]
    setpriv --reuid 61010 --regid 61009 --clear-groups curl --silent --fail --unix-socket "$socket" http://x/livez
    run ! setpriv --reuid 61010 --regid 61010 --clear-groups curl --silent --unix-socket "$socket" http://x/livez
}

@test "without the section there is no such socket, and an address beyond this machine is refused" {
    init
    escrowd_start
    [ "$READY_LINE" = "{\"ready\": true, \"port\": $PORT}" ]
    escrowd_stop
    for wrong in '{address: 0.0.0.0}' '{address: 192.0.2.1}' '{address: "::"}' '{address: localhost}' \
        "{address: 127.0.0.1, socket: /x}" '{group: adm}' '{socket: relative}'; do
        sed -i '/^monitor:/d' "$CONFIG"
        echo "monitor: $wrong" >>"$CONFIG"
        run -3 "$ESCROWD" --config "$CONFIG"
    done
    sed -i '/^monitor:/d' "$CONFIG"
    echo 'monitor: {address: 0.0.0.0}' >>"$CONFIG"
    run -3 "$ESCROWD" --config "$CONFIG"
    [[ $output == *"escrowd.yaml:"*"0.0.0.0 is not a loopback address"* ]]
}
