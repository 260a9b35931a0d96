#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The front of the real escrowd, with a keeper that does what the test asks for
# (tests/role/fake_keeper.c).
# shellcheck disable=SC2153 # request and escrowd_stop set BODY, HTTP and STATUS

bats_require_minimum_version 1.5.0

setup() {
    load escrowd.bash
    open_folders
    pki_new
    pki_client agent1
}

teardown() {
    escrowd_stop
}

# raw NAME ORDER...: orders of https_client.py over one connection; answers in $output, a line each.
raw() {
    local name=$1
    shift
    run --separate-stderr python3 "$BATS_TEST_DIRNAME/https_client.py" "$PORT" "$PKI" "$name" \
        < <(printf '%s\n' "$@")
    [ "$status" -eq 0 ]
}

# get PATH [HEADER-LINE...]: an order for raw.
get() {
    local path=$1
    shift
    jq -cn --arg head "$(printf '%s\r\n' "GET $path HTTP/1.1" "Host: x" "$@" "" | sed 's/$/\\n/' | tr -d '\n')" \
        '{send: ($head | gsub("\\\\n"; "\n"))}'
}

# refused TEXT: front has counted it, and tells of it within its second.
refused() {
    wait_for 30 grep -q "refused [0-9]* times: $1" "$LOG"
}

@test "a request reaches the keeper with who asked, and its answer comes back" {
    config_new
    escrowd_start
    post agent1 /v1/release '{"act": "x"}'
    [ "$HTTP" = 200 ]
    [ "$(jq -r .identity <<<"$BODY")" = spiffe://test/agent1 ]
    fingerprint=$(openssl x509 -in "$PKI/agent1.pem" -outform der | sha256sum | cut -d ' ' -f 1)
    [ "$(jq -r .fingerprint <<<"$BODY")" = "$fingerprint" ]
    [ "$(jq -r .body_len <<<"$BODY")" = 12 ]
    grep -qi '^content-type: application/json$' <<<"$HEAD"
    grep -qi '^cache-control: no-store$' <<<"$HEAD"
    request agent1 '/v1/audit?from=7&limit=9'
    [ "$(jq -c '[.route, .from, .limit]' <<<"$BODY")" = '[12,7,9]' ]
    request agent1 /v1/health
    [ "$(jq -r .ready <<<"$BODY")" = true ]
}

@test "a reply of the largest body and a request of the largest body pass" {
    config_new
    escrowd_start
    { printf '{"x": "'; head -c $((192 * 1024 - 9)) /dev/zero | tr '\0' a; printf '"}'; } \
        >"$BATS_TEST_TMPDIR/large"
    post agent1 /v1/deposit "@$BATS_TEST_TMPDIR/large"
    [ "$(jq -r .body_len <<<"$BODY")" = $((192 * 1024)) ]
    post agent1 /v1/release '{"test": "large"}'
    [ "$HTTP" = 200 ]
    [ "$(wc -c <"$BODY_FILE")" = $((192 * 1024)) ]
}

# filled BYTES FILE: a JSON object of so many bytes.
filled() {
    { printf '{"x": "'; head -c $(($1 - 9)) /dev/zero | tr '\0' a; printf '"}'; } >"$2"
}

@test "bodies that one message between front and keeper cannot hold" {
    config_new
    escrowd_start
    for bytes in $((192 * 1024 + 1)) $((3 * 1024 * 1024)); do
        filled "$bytes" "$BATS_TEST_TMPDIR/large"
        post agent1 /v1/publish "@$BATS_TEST_TMPDIR/large"
        [ "$HTTP $(jq -r .body_len <<<"$BODY")" = "200 $bytes" ]
    done
    printf ' ' >>"$BATS_TEST_TMPDIR/large"
    # Over the largest of all limits the head is answered and the connection ends: a client that does not
    # wait for that answer while it sends may not get to see it.
    post agent1 /v1/publish "@$BATS_TEST_TMPDIR/large" --expect100-timeout 20
    [ "$HTTP $(jq -r .code <<<"$BODY")" = "413 too_large" ]
    filled $((192 * 1024 + 1)) "$BATS_TEST_TMPDIR/large"
    post agent1 /v1/deposit "@$BATS_TEST_TMPDIR/large" --header 'Expect: 100-continue' \
        --expect100-timeout 20
    [ "$HTTP $(jq -r .code <<<"$BODY")" = "413 too_large" ]
    post agent1 /v1/release '{"test": "largest"}'
    [ "$HTTP" = 200 ]
    [ "$(wc -c <"$BODY_FILE")" = $((4 * 1024 * 1024)) ]
    [ "$(tail -c 1 "$BODY_FILE")" = '}' ]
}

@test "a large reply without its rest: front does not go on with that keeper" {
    config_new
    escrowd_start
    post agent1 /v1/release '{"test": "no-rest"}'
    [ "$HTTP" != 200 ]
    wait_for 30 grep -q "a descriptor from a peer is not sealed" "$LOG"
    wait_for 30 grep -q "front ended with status 4" "$LOG"
}

# large_is HTTP NAME: what the identity's large body gets now.
large_is() {
    post "$2" /v1/publish "@$BATS_TEST_TMPDIR/large"
    [ "$HTTP" = "$1" ]
}

send_slowly() {
    curl --silent --max-time 60 --cacert "$PKI/ca.pem" --cert "$PKI/agent1.pem" \
        --key "$PKI/agent1.key" --limit-rate 10K --header 'Content-Type: application/json' \
        --header 'Expect:' --data-binary "@$BATS_TEST_TMPDIR/large" \
        "https://127.0.0.1:$PORT/v1/publish" >/dev/null 2>&1 3>&- &
    slow=$!
}

# The slow body has the place; it was refused itself if a body that asks about it came first.
is_held() {
    kill -0 "$slow" 2>/dev/null || send_slowly
    large_is 503 agent1
}

@test "an identity holds one large body at a time, and others hold theirs" {
    config_new
    escrowd_start
    pki_client agent2
    filled $((512 * 1024)) "$BATS_TEST_TMPDIR/large"
    send_slowly
    wait_for 30 is_held
    [ "$(jq -r .code <<<"$BODY")" = overloaded ]
    grep -qi '^retry-after: 1$' <<<"$HEAD"
    post agent1 /v1/publish '{"small": "enough"}'
    [ "$HTTP" = 200 ]
    large_is 200 agent2
    kill "$slow"
    wait_for 5 large_is 200 agent1
}

@test "plain HTTP gets no HTTP" {
    config_new
    escrowd_start
    exec 8<>"/dev/tcp/127.0.0.1/$PORT"
    cat <<<$'GET /v1/health HTTP/1.1\r\nHost: x\r\n\r' >&8
    run timeout 10 cat <&8
    exec 8>&-
    [[ $output != *HTTP* ]]
}

@test "while there is no TLS for the next connection, it waits, and gets no HTTP" {
    config_new
    ESCROWD=$BUILD/tests/role/escrowd_ssl_new_fails escrowd_start
    request agent1 /v1/health
    [ "$HTTP" = 200 ]
    grep -q 'cannot make the TLS of the next connection' "$LOG"
    exec 8<>"/dev/tcp/127.0.0.1/$PORT"
    cat <<<$'GET /v1/health HTTP/1.1\r\nHost: x\r\n\r' >&8
    run timeout 10 cat <&8
    exec 8>&-
    [[ $output != *HTTP* ]]
    request agent1 /v1/health
    [ "$HTTP" = 200 ]
}

@test "a request on a connection without TLS is not answered, whatever evhttp accepted" {
    config_new
    ESCROWD=$BUILD/tests/role/escrowd_get_ssl_fails escrowd_start
    request agent1 /v1/health
    [ "$HTTP" = 000 ]
    [ -z "$HEAD" ]
    grep -q 'without TLS is closed without a reply' "$LOG"
}

@test "TLS 1.2 is refused" {
    config_new
    escrowd_start
    request agent1 /v1/health --tls-max 1.2
    [ "$HTTP" = 000 ]
}

@test "without a client certificate, or with one of another CA, nothing is answered" {
    config_new
    escrowd_start
    run ! curl --silent --cacert "$PKI/ca.pem" "https://127.0.0.1:$PORT/v1/health"
    [ -z "$output" ]
    mkdir "$BATS_TEST_TMPDIR/foreign"
    (
        BATS_TEST_TMPDIR=$BATS_TEST_TMPDIR/foreign
        pki_new
        pki_client agent1
    )
    run ! curl --silent --cacert "$PKI/ca.pem" --cert "$BATS_TEST_TMPDIR/foreign/pki/agent1.pem" \
        --key "$BATS_TEST_TMPDIR/foreign/pki/agent1.key" "https://127.0.0.1:$PORT/v1/health"
    [ -z "$output" ]
}

@test "a certificate that is revoked during a connection is refused at its next request" {
    config_new
    escrowd_start
    coproc CLIENT { python3 "$BATS_TEST_DIRNAME/https_client.py" "$PORT" "$PKI" agent1 3>&-; }
    get /v1/health >&"${CLIENT[1]}"
    read -r -t 20 first <&"${CLIENT[0]}"
    [ "$(jq .status <<<"$first")" = 200 ]
    pki_revoke agent1
    kill -HUP "$ESCROWD_PID"
    wait_for 30 grep -q 'front: new certificate, key, CAs and revocation lists are in use' "$LOG"
    get /v1/health >&"${CLIENT[1]}"
    read -r -t 20 second <&"${CLIENT[0]}"
    [ "$(jq .status <<<"$second")" = 403 ]
    [ "$(jq -r '.body | fromjson | .code' <<<"$second")" = certificate_revoked ]
    get /v1/health >&"${CLIENT[1]}"
    read -r -t 20 third <&"${CLIENT[0]}"
    [ "$(jq .closed <<<"$third")" = true ]
    close_fd "${CLIENT[1]}"
    wait "$CLIENT_PID" || true
}

@test "one connection serves many requests" {
    config_new
    escrowd_start
    raw agent1 "$(get /v1/health)" "$(get /v1/roster)" "$(get /v1/nothing)" "$(get /v1/health)"
    [ "$(jq -sc 'map(.status)' <<<"$output")" = '[200,200,404,200]' ]
}

@test "what is not strict HTTP is refused and ends the connection" {
    config_new
    escrowd_start
    body='Content-Type: application/json\r\n'
    for request in \
        'GET /v1/health HTTP/1.1\r\n\r\n' \
        'GET /v1/health HTTP/1.1\r\nHost:\r\n\r\n' \
        'GET /v1/health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n' \
        'GET /v1/health HTTP/1.0\r\nHost: x\r\n\r\n' \
        'GET /v1/health HTTP/1.1\nHost: x\n\n' \
        'GET /v1/health HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n' \
        'GET /v1/health HTTP/1.1\r\nHost: x\r\nX: a\u0000b\r\n\r\n' \
        'GET /v1/health HTTP/1.1\r\nHost: x\r\nX: a\u0001b\r\n\r\n' \
        'GET /v1/health HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n' \
        'GET https://x/v1/health HTTP/1.1\r\nHost: x\r\n\r\n' \
        'GET /v1/health HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}' \
        'GET /v1/health?x=1 HTTP/1.1\r\nHost: x\r\n\r\n' \
        'GET /v1/orders?wait=61 HTTP/1.1\r\nHost: x\r\n\r\n' \
        'GET /v1/orders?wait=1&wait=2 HTTP/1.1\r\nHost: x\r\n\r\n' \
        'GET /v1/orders?wait=+1 HTTP/1.1\r\nHost: x\r\n\r\n' \
        'GET /v1/audit?from=1&more=2 HTTP/1.1\r\nHost: x\r\n\r\n' \
        "POST /v1/release HTTP/1.1\r\nHost: x\r\n${body}\r\n" \
        "POST /v1/release HTTP/1.1\r\nHost: x\r\n${body}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" \
        "POST /v1/release HTTP/1.1\r\nHost: x\r\n${body}Content-Length: +2\r\n\r\n{}" \
        "POST /v1/release HTTP/1.1\r\nHost: x\r\n${body}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" \
        'POST /v1/release HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}' \
        'POST /v1/release HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}' \
        'GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n'; do
        raw agent1 "{\"send\": \"$request\"}" "$(get /v1/health)"
        echo "$request -> $output"
        [ "$(jq -sc '[.[0].status, .[1].closed]' <<<"$output")" = '[400,true]' ]
    done
}

@test "unknown paths and methods" {
    config_new
    escrowd_start
    request agent1 /v1/healthy
    [ "$HTTP $(jq -r .code <<<"$BODY")" = "404 no_such_path" ]
    request agent1 /v1/%68ealth
    [ "$HTTP" = 404 ]
    request agent1 /v1/release
    [ "$HTTP $(jq -r .code <<<"$BODY")" = "405 method_not_allowed" ]
    grep -qi '^allow: POST$' <<<"$HEAD"
    # HEAD has no body, whatever its status: the next answer would begin with it.
    raw agent1 '{"send": "HEAD /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"}' "$(get /v1/health)"
    [ "$(jq -sc 'map([.status, .body != ""])' <<<"$output")" = '[[405,false],[200,true]]' ]
    request agent1 /v1/orders --request PUT
    grep -qi '^allow: GET, POST$' <<<"$HEAD"
    grep -qi '^content-type: application/problem+json$' <<<"$HEAD"
}

@test "a head or body that is too large is refused" {
    config_new
    escrowd_start
    long=$(head -c 9000 /dev/zero | tr '\0' a)
    request agent1 /v1/health --header "X: $long"
    [ "$HTTP $(jq -r .code <<<"$BODY")" = "413 too_large" ]
    grep -qi '^content-type: application/problem+json$' <<<"$HEAD"
    # Without an end, and dripped: evhttp gives up before there is a request.
    raw agent1 "$(get /v1/health "X: $long$long" | jq -c '.send |= .[:17000]')"
    [ "$(jq -r '.status, (.body | fromjson | .code)' <<<"$output" | paste -s)" = $'413\ttoo_large' ]
    { printf '{"x": "'; head -c $((192 * 1024 - 8)) /dev/zero | tr '\0' a; printf '"}'; } \
        >"$BATS_TEST_TMPDIR/large"
    post agent1 /v1/deposit "@$BATS_TEST_TMPDIR/large"
    [ "$HTTP" = 413 ]
    head -c 9000 "$BATS_TEST_TMPDIR/large" >"$BATS_TEST_TMPDIR/middle"
    post agent1 /v1/receipt "@$BATS_TEST_TMPDIR/middle"
    [ "$HTTP $(jq -r .code <<<"$BODY")" = "413 too_large" ]
    post agent1 /v1/release '{}'
    [ "$HTTP" = 200 ]
}

@test "a request that drips in meets the absolute deadline" {
    config_new "request: 2s"
    escrowd_start
    long=$(head -c 2000 /dev/zero | tr '\0' a)
    raw agent1 "$(get /v1/health "X: $long" | jq -c '. + {drip_ms: 20}')"
    [ "$(jq .closed <<<"$output")" = true ]
    [ "$(jq .sent <<<"$output")" -gt 5 ]
    [ "$(jq .sent <<<"$output")" -lt 500 ]
}

@test "a connection that says nothing is closed at the deadline" {
    config_new "request: 300ms"
    escrowd_start
    exec 8<>"/dev/tcp/127.0.0.1/$PORT"
    run -0 timeout 10 cat <&8
    exec 8>&-
}

@test "a keeper that does not answer costs the client 503 deadline, and the keeper is told" {
    config_new "request: 2s"
    escrowd_start
    post agent1 /v1/receipt '{"test": "silent"}'
    [ "$HTTP $(jq -r .code <<<"$BODY")" = "503 deadline" ]
    grep -qi '^retry-after: 1$' <<<"$HEAD"
    post agent1 /v1/receipt '{}'
    [ "$(jq .gone <<<"$BODY")" = 1 ]
}

@test "a keeper that dies costs 503 role_down, and front outlives it" {
    config_new
    escrowd_start
    front=$(role_pid front) keeper=$(role_pid keeper)
    post agent1 /v1/release '{"test": "die"}'
    [ "$HTTP $(jq -r .code <<<"$BODY")" = "503 role_down" ]
    grep -qi '^retry-after: 1$' <<<"$HEAD"
    served() {
        request agent1 /v1/health
        [ "$HTTP" = 200 ]
    }
    wait_for 30 served
    [ "$(role_pid front)" = "$front" ]
    [ "$(role_pid keeper)" != "$keeper" ]
}

@test "the keeper's problem becomes problem+json with its reason" {
    config_new
    escrowd_start
    post agent1 /v1/release '{"test": "problem"}'
    [ "$HTTP" = 202 ]
    [ "$(jq -c '[.type, .status, .code, .detail]' <<<"$BODY")" = \
        '["urn:escrowd:problem:brake",202,"brake","6 releases within the hour"]' ]
}

@test "a long poll waits beyond the deadline of other requests" {
    config_new "request: 1500ms"
    escrowd_start
    request agent1 '/v1/orders?wait=2' --write-out '%{http_code} %{time_total}'
    [ "${HTTP%% *}" = 200 ]
    jq -en --arg t "${HTTP##* }" '($t | tonumber) >= 1.9'
}

@test "a client that goes away is dropped, and the keeper is told" {
    config_new
    escrowd_start
    # Whether the request gets as far as the keeper in half a second is the machine's affair.
    told() {
        request agent1 '/v1/orders?wait=60' --max-time 0.5
        [ "$HTTP" = 000 ] || return 1
        post agent1 /v1/release '{}'
        [ "$(jq .gone <<<"$BODY")" -ge 1 ]
    }
    wait_for 30 told
}

@test "connections are limited in all: the next one waits" {
    config_new "connections: 2"
    escrowd_start
    coproc ONE { python3 "$BATS_TEST_DIRNAME/https_client.py" "$PORT" "$PKI" agent1 3>&-; }
    get /v1/health >&"${ONE[1]}"
    read -r -t 20 _ <&"${ONE[0]}"
    python3 "$BATS_TEST_DIRNAME/https_client.py" "$PORT" "$PKI" agent1 \
        < <(get /v1/health && get '/v1/orders?wait=60') >"$BATS_TEST_TMPDIR/two" 3>&- &
    two=$!
    wait_for 30 grep -q '"status": 200' "$BATS_TEST_TMPDIR/two"
    wait_for 30 grep -q '2 clients are connected' "$LOG"
    request agent1 /v1/health --max-time 1
    [ "$HTTP" = 000 ]
    kill "$two"
    wait "$two" || true
    request agent1 /v1/health
    [ "$HTTP" = 200 ]
    close_fd "${ONE[1]}"
    wait "$ONE_PID"
}

@test "connections that make no request keep nobody out: the oldest of them gives way" {
    config_new "connections: 2"
    escrowd_start
    exec 8<>"/dev/tcp/127.0.0.1/$PORT" 9<>"/dev/tcp/127.0.0.1/$PORT"
    request agent1 /v1/health
    [ "$HTTP" = 200 ]
    exec 8>&- 9>&-
    refused 'clients without a verified certificate: overloaded'
}

@test "connections are limited for each identity" {
    pki_client agent2
    config_new "connections_per_identity: 1"
    escrowd_start
    coproc ONE { python3 "$BATS_TEST_DIRNAME/https_client.py" "$PORT" "$PKI" agent1 3>&-; }
    jq -cn --arg body '{"test": "silent"}' '{send: ("POST /v1/release HTTP/1.1\r\nHost: x\r\n"
        + "Content-Type: application/json\r\nContent-Length: \($body | length)\r\n\r\n" + $body)}' \
        >&"${ONE[1]}"
    overloaded() {
        request agent1 /v1/health
        [ "$HTTP $(jq -r .code <<<"$BODY")" = "503 overloaded" ]
    }
    wait_for 30 overloaded
    request agent2 /v1/health
    [ "$HTTP" = 200 ]
    close_fd "${ONE[1]}"
    kill "$ONE_PID"
    wait "$ONE_PID" || true
}

@test "a request that waits for people gives way to another one of its identity" {
    config_new "connections_per_identity: 1"
    escrowd_start
    python3 "$BATS_TEST_DIRNAME/https_client.py" "$PORT" "$PKI" agent1 \
        < <(get '/v1/orders?wait=60'; get /v1/health) >"$BATS_TEST_TMPDIR/waiting" 3>&- &
    waiting=$!
    gave_way() {
        post agent1 /v1/release '{}'
        [ "$HTTP $(jq .gone <<<"$BODY")" = "200 1" ]
    }
    wait_for 10 gave_way
    wait "$waiting"
    run -0 jq -c '[.status, .headers.connection, (.body // "{}" | fromjson.code), .closed]' \
        "$BATS_TEST_TMPDIR/waiting"
    [ "$output" = $'[503,"close","overloaded",null]\n[null,null,null,true]' ]
}

@test "an identity's connections in other hands lock it out of nothing: the oldest idle one gives way" {
    config_new "connections_per_identity: 1"
    escrowd_start
    coproc ONE { python3 "$BATS_TEST_DIRNAME/https_client.py" "$PORT" "$PKI" agent1 3>&-; }
    get /v1/health >&"${ONE[1]}"
    read -r -t 20 _ <&"${ONE[0]}"
    request agent1 /v1/health
    [ "$HTTP" = 200 ]
    get /v1/health >&"${ONE[1]}"
    read -r -t 20 answer <&"${ONE[0]}"
    [ "$(jq .closed <<<"$answer")" = true ]
    refused 'spiffe://test/agent1: overloaded'
    close_fd "${ONE[1]}"
    wait "$ONE_PID"
}

@test "requests that wait are limited" {
    config_new "requests: 1"
    escrowd_start
    coproc ONE { python3 "$BATS_TEST_DIRNAME/https_client.py" "$PORT" "$PKI" agent1 3>&-; }
    get '/v1/orders?wait=60' >&"${ONE[1]}"
    overloaded() {
        request agent1 /v1/health
        [ "$HTTP $(jq -r .code <<<"$BODY")" = "503 overloaded" ]
    }
    wait_for 30 overloaded
    close_fd "${ONE[1]}"
    kill "$ONE_PID"
    wait "$ONE_PID" || true
}
