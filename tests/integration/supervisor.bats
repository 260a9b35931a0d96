#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The supervisor of the real escrowd, with a keeper that does what the test asks for
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

served() {
    request agent1 /v1/health
    [ "$HTTP" = 200 ]
}

gone() {
    [ ! -e "/proc/$1" ]
}

@test "ready: one line on standard output, with the port" {
    config_new
    escrowd_start
    [ "$READY_LINE" = "{\"ready\": true, \"port\": $PORT}" ]
    served
}

@test "the service manager hears of ready, status and stopping" {
    config_new
    exec 8< <(exec socat -u "UNIX-RECV:$BATS_TEST_TMPDIR/notify" STDOUT)
    socat=$!
    wait_for 30 test -S "$BATS_TEST_TMPDIR/notify"
    export NOTIFY_SOCKET=$BATS_TEST_TMPDIR/notify
    escrowd_start
    wait_for 30 grep -q 'keeper: serves' "$LOG"
    escrowd_stop
    kill "$socat"
    run cat <&8
    [[ $output == *READY=1*STOPPING=1 ]]
    [[ $output == *STATUS=serves* ]]
}

@test "the supervisor cannot be traced, leaves no core, gains no privileges" {
    config_new
    if [ "$(id -u)" -eq 0 ]; then
        # As root it could not be seen whether root owns its files in /proc.
        sed -i '/^users:/d' "$CONFIG"
        printf '#!/bin/sh\nexec setpriv --reuid 61001 --regid 61001 --clear-groups "%s" "$@"\n' \
            "$ESCROWD" >"$BATS_TEST_TMPDIR/as-user"
        chmod 0755 "$BATS_TEST_TMPDIR/as-user"
        chown -R 61001:61001 "$BATS_TEST_TMPDIR"
        ESCROWD=$BATS_TEST_TMPDIR/as-user
    fi
    escrowd_start
    grep -qx 'NoNewPrivs:.1' "/proc/$ESCROWD_PID/status"
    grep -qE '^Max core file size +0 +0 ' "/proc/$ESCROWD_PID/limits"
    [ "$(stat -c %U "/proc/$ESCROWD_PID/mem")" = root ]
}

@test "a role has its own descriptors, and nothing of the environment" {
    config_new
    export TDSDUMP=$BATS_TEST_TMPDIR/dump LD_DEBUG=unused NOTIFY_SOCKET=
    exec 9</dev/null
    escrowd_start
    exec 9>&-
    for role in keeper front; do
        pid=$(role_pid "$role")
        [ "$(readlink "/proc/$pid/fd/0")" = /dev/null ]
        [ "$(readlink "/proc/$pid/fd/1")" = /dev/null ]
        [[ $(readlink "/proc/$pid/fd/3") == socket:* ]]
        # The rest is its own: event loop, its pipe, its channels and TLS.
        for fd in "/proc/$pid/fd/"*; do
            [[ $fd == */[0-3] ]] || [[ $(readlink "$fd") == /memfd:*.yaml* ]] || [[ $(readlink "$fd") =~ ^(socket:|pipe:|anon_inode:) ]]
        done
        run ! grep -zqE '^(TDSDUMP|LD_DEBUG|HOME|PATH|NOTIFY_SOCKET)=' "/proc/$pid/environ"
    done
    [[ $(readlink "/proc/$(role_pid front)/fd/6") == socket:* ]]
}

@test "a role that dies is started again; the other end gets a new channel" {
    config_new
    escrowd_start
    keeper=$(role_pid keeper) front=$(role_pid front)
    kill -KILL "$front"
    wait_for 30 is_other front "$front"
    wait_for 30 served
    [ "$(role_pid keeper)" = "$keeper" ]
    front=$(role_pid front)
    kill -KILL "$keeper"
    wait_for 30 is_other keeper "$keeper"
    wait_for 30 served
    [ "$(role_pid front)" = "$front" ]
}

@test "clients wait while front is started again: nobody is refused" {
    config_new
    escrowd_start
    kill -KILL "$(role_pid front)"
    request agent1 /v1/health
    [ "$HTTP" = 200 ]
}

@test "a keeper that hangs is killed at its deadline" {
    config_new "ping: 1s" "request: 1s"
    escrowd_start
    keeper=$(role_pid keeper)
    post agent1 /v1/release '{"test": "hang"}'
    [ "$HTTP" = 503 ]
    wait_for 30 is_other keeper "$keeper"
    wait_for 30 served
    grep -q 'keeper is killed: it does not answer' "$LOG"
}

@test "a keeper that says what it must not costs front, which comes back" {
    config_new
    escrowd_start
    front=$(role_pid front)
    post agent1 /v1/release '{"test": "malformed"}'
    wait_for 30 is_other front "$front"
    wait_for 30 served
}

@test "whatever else a keeper may not say to front costs front, which comes back" {
    config_new
    escrowd_start
    for word in unknown-id no-id request unknown-type; do
        front=$(role_pid front)
        keeper=$(role_pid keeper)
        post agent1 /v1/release "{\"test\": \"$word\"}"
        wait_for 30 is_other front "$front"
        wait_for 30 served
        [ "$(role_pid keeper)" = "$keeper" ]
    done
}

@test "replies that nobody waits for cost nothing" {
    config_new
    escrowd_start
    front=$(role_pid front)
    request agent1 /v1/roster
    post agent1 /v1/release '{"test": "flood"}'
    [ "$HTTP" = 200 ]
    [ "$(jq .flood <<<"$BODY")" = true ]
    served
    [ "$(role_pid front)" = "$front" ]
}

@test "the keeper may have front started again" {
    config_new
    escrowd_start
    front=$(role_pid front)
    post agent1 /v1/release '{"test": "restart-front"}'
    wait_for 30 is_other front "$front"
    grep -q 'front is killed: the keeper asks for it' "$LOG"
    wait_for 30 served
}

@test "a prober ends with the keeper and is started again" {
    config_new
    config_instance sql1
    escrowd_start
    prober=$(role_pid prober)
    kill -KILL "$prober"
    wait_for 30 is_other prober "$prober"
    prober=$(role_pid prober)
    kill -KILL "$(role_pid keeper)"
    wait_for 30 gone "$prober"
    wait_for 30 is_other prober "$prober"
    wait_for 30 served
}

# policy_bytes: of the policy that the running keeper was started with.
policy_bytes() {
    post agent1 /v1/release '{}'
    jq .policy_bytes <<<"$BODY"
}

@test "a role that is restarted works with the files as they were taken, not as they are" {
    config_new
    escrowd_start
    before=$(policy_bytes)
    # What is wrong is not taken, at whatever time it is seen.
    echo 'wrong' >>"$BATS_TEST_TMPDIR/rules/policy.yaml"
    keeper=$(role_pid keeper)
    kill -KILL "$keeper"
    wait_for 30 is_other keeper "$keeper"
    wait_for 30 served
    [ "$(policy_bytes)" = "$before" ]
}

@test "a changed policy counts for all roles at once, without a signal" {
    config_new
    config_instance sql1
    escrowd_start
    before=$(policy_bytes)
    keeper=$(role_pid keeper) prober=$(role_pid prober) front=$(role_pid front)
    sed 's/^member: a$/member: b # and a new configuration/' "$CONFIG" >"$CONFIG.new"
    echo '# another rule' >>"$BATS_TEST_TMPDIR/rules/policy.yaml"
    mv "$CONFIG.new" "$CONFIG"
    wait_for 30 is_other keeper "$keeper"
    wait_for 30 is_other prober "$prober"
    wait_for 30 served
    [ "$(policy_bytes)" = $((before + 15)) ]
    [ "$(role_pid front)" = "$front" ]
}

@test "SIGHUP: instances come and go" {
    config_new
    escrowd_start
    [ -z "$(role_pid prober)" ]
    config_instance sql1
    kill -HUP "$ESCROWD_PID"
    wait_for 30 grep -q 'prober sql1 is ready' "$LOG"
    sed -i '/^instances:/,$d' "$CONFIG"
    kill -HUP "$ESCROWD_PID"
    no_prober() {
        [ -z "$(role_pid prober)" ] && served
    }
    wait_for 30 no_prober
}

@test "instances that the policy does not have are not asked, those that the configuration lacks are named" {
    config_new
    config_instance sql9
    escrowd_start
    grep -q 'no group of the policy has the instance sql9 of the configuration: it is not asked' "$LOG"
    [ -z "$(role_pid prober)" ]
    for name in sql1 sql2 sql3; do
        [ "$(grep -c "the configuration has no instance $name, which the policy names" "$LOG")" = 1 ]
    done
    sed -i 's/name: sql9/name: sql1/' "$CONFIG"
    kill -HUP "$ESCROWD_PID"
    wait_for 10 grep -q 'prober sql1 is ready' "$LOG"
    [ "$(grep -c 'the configuration has no instance sql1,' "$LOG")" = 1 ]
    [ "$(grep -c 'the configuration has no instance sql2,' "$LOG")" = 2 ]
}

@test "the first line says what runs, with which files, and where" {
    config_new
    escrowd_start
    run head -n 4 "$LOG"
    [[ $output == *"escrowd: escrowd "[0-9]*": member a, configuration $CONFIG, policy $BATS_TEST_TMPDIR/rules/policy.yaml, listens on 127.0.0.1 port $PORT"* ]]
}

@test "SIGHUP: nothing starts anew for what is wrong or the same" {
    config_new
    escrowd_start
    keeper=$(role_pid keeper)
    kill -HUP "$ESCROWD_PID"
    wait_for 30 grep -q 'configuration and policy have not changed' "$LOG"
    echo 'wrong' >>"$BATS_TEST_TMPDIR/rules/policy.yaml"
    kill -HUP "$ESCROWD_PID"
    wait_for 30 grep -q 'configuration and policy in use stay' "$LOG"
    grep -q 'policy.yaml:[0-9]*:[0-9]*: ' "$LOG"
    [ "$(role_pid keeper)" = "$keeper" ]
    served
}

@test "SIGTERM: what is in flight gets its answer, long polls end" {
    config_new
    escrowd_start
    curl_get() {
        curl --silent --max-time 20 --cacert "$PKI/ca.pem" --cert "$PKI/agent1.pem" \
            --key "$PKI/agent1.key" "$@"
    }
    curl_get --output /dev/null --write-out '%{http_code}' \
        "https://127.0.0.1:$PORT/v1/orders?wait=60" >"$BATS_TEST_TMPDIR/poll" 3>&- &
    poll=$!
    curl_get --output /dev/null --write-out '%{http_code}' --data '{"test": "late"}' \
        --header 'Content-Type: application/json' \
        "https://127.0.0.1:$PORT/v1/release" >"$BATS_TEST_TMPDIR/late" 3>&- &
    late=$!
    both() {
        [ "$(ss -Htn state established "( sport = :$PORT )" | wc -l)" -eq 2 ] && served
    }
    wait_for 30 both
    escrowd_stop
    [ "$STATUS" -eq 0 ]
    wait "$poll" "$late"
    [ "$(cat "$BATS_TEST_TMPDIR/poll")" = 503 ]
    [ "$(cat "$BATS_TEST_TMPDIR/late")" = 200 ]
}

@test "SIGTERM: a keeper that hangs does not hold it up" {
    config_new "shutdown: 500ms"
    escrowd_start
    kill -STOP "$(role_pid keeper)"
    escrowd_stop
    [ "$STATUS" -eq 0 ]
    grep -q 'keeper is killed' "$LOG"
}

@test "roles die with their supervisor, even those that hang" {
    config_new
    config_instance sql1
    escrowd_start
    roles=("$(role_pid keeper)" "$(role_pid front)" "$(role_pid prober)")
    kill -STOP "${roles[@]}"
    kill -KILL "$ESCROWD_PID"
    failed=0
    for pid in "${roles[@]}"; do
        if ! wait_for 30 gone "$pid"; then
            kill -KILL "$pid"
            failed=1
        fi
    done
    [ "$failed" -eq 0 ]
}

@test "what is wrong at the first start ends it with status 3 and says what" {
    config_new
    rm "$PKI/server.key"
    run -3 "$ESCROWD" --config "$CONFIG"
    [[ $output == *server.key* ]]
    config_new
    echo 'limits: {ping: 5}' >>"$CONFIG"
    run -3 "$ESCROWD" --config "$CONFIG"
    [[ $output == *"escrowd.yaml:"*:*"ping"* || $output == *"escrowd.yaml:"*"5"* ]]
    run -3 "$ESCROWD" --config "$BATS_TEST_TMPDIR/nothing.yaml"
}

@test "root must name users of its own for the roles" {
    [ "$(id -u)" -eq 0 ] || skip "only root can change users"
    config_new
    sed -i '/^users:/d' "$CONFIG"
    run -3 "$ESCROWD" --config "$CONFIG"
    [[ $output == *"must name users"* ]]
    echo "users: {keeper: '0', front: '61002', prober: '61003'}" >>"$CONFIG"
    run -3 "$ESCROWD" --config "$CONFIG"
    [[ $output == *"does not run as root"* ]]
}

@test "the command line" {
    run -0 "$ESCROWD" --version
    [[ $output == "escrowd "[0-9]* ]]
    run -0 "$ESCROWD" --help
    [[ $output == usage:* ]]
    run -2 "$ESCROWD" walk
    run -2 "$ESCROWD" run twice
    run -2 "$ESCROWD" --unknown
}
