#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `alert:` of the real escrowd: what its command gets and when, what it is run as, and what becomes of
# escrowd where the command fails, hangs, floods or ends the role that runs it.
# shellcheck disable=SC2153 # escrowd_stop sets STATUS

bats_require_minimum_version 1.5.0

setup() {
    load escrowd.bash
    load member.bash
    member_new
    GOT=$BATS_TEST_TMPDIR/got
    mkdir "$GOT"
    chmod 0777 "$GOT"
    echo 'monitor: {address: 127.0.0.1, port: 0}' >>"$CONFIG"
}

teardown() {
    escrowd_stop
    swtpm_stop
    run ! grep -E 'AddressSanitizer|LeakSanitizer|runtime error:' "$LOG"
}

# command_new TIMEOUT <BODY: a shell script is the command of alert:.
command_new() {
    {
        echo '#!/bin/bash'
        cat
    } >"$BATS_TEST_TMPDIR/alert"
    chmod 0755 "$BATS_TEST_TMPDIR/alert"
    echo "alert: {command: $BATS_TEST_TMPDIR/alert, timeout: $1}" >>"$CONFIG"
}

# A command that keeps what it gets in $GOT/1, 2, ... beside when it began (milliseconds).
keeper_of_alerts() {
    cat <<TEXT
began=\$(date +%s%3N)
number=\$(ls "$GOT" | grep -c 'json$')
{ cat; echo "\$began" >"$GOT/\$number.time"; } >"$GOT/\$number"
mv "$GOT/\$number" "$GOT/\$number.json"
TEXT
}

start() {
    init
    escrowd_start
    MONITOR=127.0.0.1:$(jq .monitor_port <<<"$READY_LINE")
}

# got FILTER: one of the alerts that came fits.
got() {
    cat "$GOT"/*.json 2>/dev/null | jq -e -s "map(select($1)) | length > 0"
}

# check STATUS [REASON]: /readyz says so of alerts.
check() {
    curl --silent --max-time 10 "http://$MONITOR/readyz" |
        jq -e --arg status "$1" --arg reason "${2:-}" '.checks[] | select(.name == "alert")
            | .status == $status and (.reason // "") == $reason'
}

# metric OUTCOME COUNT: so many alerts came to this, or more.
metric() {
    local value
    value=$(curl --silent --max-time 10 "http://$MONITOR/metrics" |
        sed -n "s/^escrowd_alerts_total{outcome=\"$1\"} //p")
    [ "$value" -ge "$2" ]
}

# has_ended PID: it is gone, or nobody has reaped it yet.
has_ended() {
    ! grep -q -v -P '^State:\tZ' <(grep '^State:' "/proc/$1/status" 2>/dev/null)
}

@test "an alert comes within a second of its record, and says what to run" {
    pki_certificate server serverAuth "URI:spiffe://test/escrowd/a,IP:127.0.0.1" 29
    keeper_of_alerts | command_new 10s
    start
    wait_for 30 got '.reason == "own_certificate_expiring"'
    file=$(grep -l own_certificate_expiring "$GOT"/*.json)
    jq -e '.event == "certificate" and .member == "a" and .next == "escrowctl status" and .v == 1 and
        .suppressed == 0 and .undelivered == 0 and (.text | contains("expires within 30 days"))' \
        "$file"
    sequence=$(jq -r 'select(.event == "alert") | .sequence' "$BATS_TEST_TMPDIR"/audit/*)
    [ "$(jq .record "$file")" = "$sequence" ]
    recorded=$(date -d "$(jq -r .time "$file")" +%s%3N)
    began=$(cat "${file%.json}.time")
    echo "# began $((began - recorded)) ms after the record"
    # Starting a process takes a busy machine as long.
    [ $((began - recorded)) -lt 5000 ]
    wait_for 30 check ok
    metric delivered 1
}

@test "the command has its user, two variables, three descriptors, and no right more" {
    command_new 10s <<TEXT
env >"$GOT/env"
ls /proc/self/fd | tr '\n' ' ' >"$GOT/descriptors"
readlink /proc/self/fd/{0,1,2} | sed 's/:.*//' >"$GOT/kinds"
grep -E '^(Uid|Gid|Groups|Cap(Prm|Eff|Amb)|NoNewPrivs|SigIgn|SigBlk):' /proc/self/status >"$GOT/status"
{ pwd; umask; ulimit -c; } >"$GOT/rest"
[ "\$(ps -o pgid= -p \$\$)" -eq \$\$ ] && echo own >>"$GOT/rest"
for path in "$PKI/server.key" "$BATS_TEST_TMPDIR/state/store.sqlite" "$BATS_TEST_TMPDIR/state" \
    "$BATS_TEST_TMPDIR/audit"; do
    head -c 1 "\$path" >/dev/null 2>&1 && echo "\$path"
    ls "\$path"/* >/dev/null 2>&1 && echo "\$path"
done >"$GOT/readable"
for pid in \$(pgrep -P "\$(ps -o ppid= -p "\$PPID" | tr -d ' ')" -f 'role (keeper|front)'); do
    cat "/proc/\$pid/environ" >/dev/null 2>&1 && echo "\$pid"
    kill -0 "\$pid" 2>/dev/null && echo "\$pid"
    echo "\$pid" >>"$GOT/tried"
done >"$GOT/siblings"
cat >"$GOT/1.json"
TEXT
    chmod 0700 "$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/audit"
    SECRET_VARIABLE=x start
    wait_for 30 got '.event == "not_ready" and .reason == "no_roster"'
    run -0 grep -v -E '^(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|LC_ALL=C.UTF-8|PWD=/|SHLVL=[01]|_=.*)$' \
        <(cat "$GOT/env"; echo end)
    [ "$output" = end ]
    [ "$(cat "$GOT/descriptors")" = "0 1 2 3 " ] # 3: of ls itself
    [ "$(cat "$GOT/kinds")" = $'pipe\npipe\npipe' ]
    grep -q -P '^NoNewPrivs:\t1' "$GOT/status"
    grep -q -P '^SigIgn:\t0000000000000000' "$GOT/status"
    grep -q -P '^SigBlk:\t0000000000000000' "$GOT/status"
    [ "$(cat "$GOT/rest")" = $'/\n0077\n0\nown' ]
    if [ "$(id -u)" -eq 0 ]; then
        grep -q -P '^Uid:\t61004\t61004\t61004\t61004' "$GOT/status"
        grep -q -P '^Gid:\t61004\t61004\t61004\t61004' "$GOT/status"
        grep -q -P '^Groups:\s*$' "$GOT/status"
        [ "$(grep -c -P '^Cap...:\t0000000000000000' "$GOT/status")" -eq 3 ]
        [ ! -s "$GOT/readable" ]
        [ ! -s "$GOT/siblings" ]
        [ "$(wc -l <"$GOT/tried")" -eq 2 ]
    fi
}

@test "one that hangs is killed with its children at the deadline, and the next one is delivered" {
    # The first one hangs, with a child that ignores every signal that can be ignored.
    command_new 500ms <<TEXT
if mkdir "$GOT/first" 2>/dev/null; then
    (trap '' TERM INT HUP; echo "\$BASHPID" >"$GOT/child"; exec sleep 1000) &
    echo "\$\$" >"$GOT/parent"
    wait
fi
cat >"$GOT/2.json"
TEXT
    start
    wait_for 30 grep -q 'an alert was not delivered: the command did not end in time' "$LOG"
    wait_for 30 check warn alert_failed
    metric timed_out 1
    wait_for 30 has_ended "$(cat "$GOT/child")"
    wait_for 30 has_ended "$(cat "$GOT/parent")"
    # Everything else goes on.
    request admin /v1/health
    [ "$HTTP" = 503 ]
    swtpm_stop
    wait_for 30 got '.reason == "tpm_unavailable" and .undelivered == 1'
    wait_for 30 check ok
    metric delivered 1
}

@test "one that fails shows in metrics, readyz and log; what it prints is in the log, bounded" {
    command_new 10s <<'TEXT'
echo "to output"
echo "to error" >&2
printf '\e[2J%0600d\n' 0
seq 1000
exit 3
TEXT
    start
    wait_for 30 check warn alert_failed
    metric failed 1
    grep -q 'keeper: an alert was not delivered: the command ended with status 3$' "$LOG"
    grep -q "alerter: $BATS_TEST_TMPDIR/alert: to output$" "$LOG"
    grep -q "alerter: $BATS_TEST_TMPDIR/alert: to error$" "$LOG"
    grep -q 'x1b\[2J000' "$LOG"
    [ "$(grep -c 'alerter: .*/alert: ' "$LOG")" -eq 21 ]
    grep -q 'lines more were left out' "$LOG"
}

@test "what it leaves behind when it ends is killed, in its process group or not" {
    local name
    command_new 10s <<TEXT
sleep 1000 &
echo \$! >"$GOT/left"
setsid --fork sh -c 'echo \$\$ >"$GOT/left.session"; exec sleep 1000'
setsid --fork sh -c 'setsid --fork sh -c "echo \\\$\\\$ >$GOT/left.below; exec sleep 1000"; echo \$\$ >"$GOT/left.above"; exec sleep 1000'
until [ -s "$GOT/left.session" ] && [ -s "$GOT/left.above" ] && [ -s "$GOT/left.below" ]; do :; done
cat >"$GOT/1.json"
TEXT
    start
    wait_for 30 check ok
    wait_for 30 metric delivered 1
    for name in left left.session left.above left.below; do
        wait_for 30 has_ended "$(cat "$GOT/$name")"
    done
}

@test "an alerter that is killed is started again, and what was with it comes once more" {
    command_new 30s <<TEXT
if mkdir "$GOT/first" 2>/dev/null; then
    kill -KILL \$PPID
    exec sleep 1000
fi
cat >"$GOT/2.json"
TEXT
    start
    wait_for 30 got '.reason == "no_roster"'
    grep -q 'alerter was killed by signal 9' "$LOG"
    wait_for 30 check ok
    metric delivered 1
    # One that kills it each time is given up.
    echo "kill -KILL \$PPID" >>"$BATS_TEST_TMPDIR/alert"
    sed -i 's/^cat.*//; s/^if mkdir .*/if false; then/' "$BATS_TEST_TMPDIR/alert"
    swtpm_stop
    wait_for 30 grep -q 'an alert is lost: the alerter died of it 2 times' "$LOG"
    wait_for 30 metric lost 1
}

@test "without alert: there is no alerter; it comes and goes with the configuration" {
    start
    [ -z "$(role_pid alerter)" ]
    check ok
    cp "$CONFIG" "$BATS_TEST_TMPDIR/without"
    keeper_of_alerts | command_new 10s
    kill -HUP "$ESCROWD_PID"
    wait_for 30 got '.reason == "no_roster"'
    first=$(role_pid alerter)
    # A policy that changes is nothing to it; another timeout is.
    echo '# changed' >>"$BATS_TEST_TMPDIR/rules/policy.yaml"
    keeper=$(role_pid keeper)
    kill -HUP "$ESCROWD_PID"
    wait_for 30 is_other keeper "$keeper"
    [ "$(role_pid alerter)" = "$first" ]
    sed -i 's/timeout: 10s/timeout: 11s/' "$CONFIG"
    kill -HUP "$ESCROWD_PID"
    wait_for 30 is_other alerter "$first"
    cp "$BATS_TEST_TMPDIR/without" "$CONFIG"
    kill -HUP "$ESCROWD_PID"
    is_gone() { [ -z "$(role_pid alerter)" ]; }
    wait_for 30 is_gone
    # Nor does it come back: not by the time that another keeper has.
    echo '# once more' >>"$BATS_TEST_TMPDIR/rules/policy.yaml"
    keeper=$(role_pid keeper)
    kill -HUP "$ESCROWD_PID"
    wait_for 30 is_other keeper "$keeper"
    is_gone
    [ "$(grep -c 'alerter ended with status' "$LOG")" -eq 2 ]
    run ! grep -q 'alerter was killed' "$LOG"
}

@test "a command that others can change, or that is none, is refused at the start and at a reload" {
    keeper_of_alerts | command_new 10s
    init
    refused() {
        run timeout 20 "$ESCROWD" run --config "$CONFIG"
        [ "$status" -eq 3 ] || return 1
        grep -q -- "$1" <<<"$output"
    }
    LOG=/dev/null
    chmod 0757 "$BATS_TEST_TMPDIR/alert"
    refused 'others than root can change it (owner 0, mode 0757)'
    chmod 0644 "$BATS_TEST_TMPDIR/alert"
    refused 'it is not an executable file'
    chmod 0755 "$BATS_TEST_TMPDIR/alert"
    sed -i "s|command: [^,]*,|command: $BATS_TEST_TMPDIR/none,|" "$CONFIG"
    refused 'No such file or directory'
    sed -i "s|command: [^,]*,|command: relative,|" "$CONFIG"
    refused 'escrowd.yaml:[0-9]*:[0-9]*: '
    mkdir "$BATS_TEST_TMPDIR/open"
    cp "$BATS_TEST_TMPDIR/alert" "$BATS_TEST_TMPDIR/open/alert"
    chmod 0777 "$BATS_TEST_TMPDIR/open"
    sed -i "s|command: [^,]*,|command: $BATS_TEST_TMPDIR/open/alert,|" "$CONFIG"
    refused 'others than root can change the folder'
    if [ "$(id -u)" -eq 0 ]; then
        chmod 0755 "$BATS_TEST_TMPDIR/open"
        chmod 0700 "$BATS_TEST_TMPDIR/open/alert"
        refused 'user 61004 may not execute it: Permission denied'
        chown 61001 "$BATS_TEST_TMPDIR/open/alert"
        refused 'others than root can change it (owner 61001, mode 0700)'
        sed -i 's/, alerter: 61004//' "$CONFIG"
        refused 'an alert needs a user: name alerter too'
    fi
}

@test "test-alert runs the command as the alerter does, and ends as it does" {
    keeper_of_alerts | command_new 500ms
    run -0 "$ESCROWD" test-alert --config "$CONFIG"
    jq -e '.event == "test" and .record == null and .member == "a" and (.text | length) > 0' \
        "$GOT/0.json"
    [ "$(id -u)" -ne 0 ] || [ "$(stat -c %u "$GOT/0.json")" = 61004 ]
    echo 'echo said; exit 3' >>"$BATS_TEST_TMPDIR/alert"
    run -8 "$ESCROWD" test-alert --config "$CONFIG"
    grep -q 'said$' <<<"$output"
    grep -q 'ended with status 3' <<<"$output"
    sed -i 's/^echo said.*/sleep 1000/' "$BATS_TEST_TMPDIR/alert"
    run -8 "$ESCROWD" test-alert --config "$CONFIG"
    grep -q 'did not end within 500 ms and was killed' <<<"$output"
    sed -i '/^alert:/d' "$CONFIG"
    run -3 "$ESCROWD" test-alert --config "$CONFIG"
    LOG=/dev/null
}
