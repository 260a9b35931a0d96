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

# command [TIMEOUT] <BODY: a shell script is the command of alert:.
# shellcheck disable=SC2120 # with and without
command_new() {
    {
        echo '#!/bin/bash'
        cat
    } >"$BATS_TEST_TMPDIR/alert"
    chmod 0755 "$BATS_TEST_TMPDIR/alert"
    echo "alert: {command: $BATS_TEST_TMPDIR/alert, timeout: ${1:-10s}}" >>"$CONFIG"
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

@test "an alert comes within a second of its record, and says what to run" {
    pki_certificate server serverAuth "URI:spiffe://test/escrowd/a,IP:127.0.0.1" 29
    keeper_of_alerts | command_new
    start
    wait_for 10 got '.reason == "own_certificate_expiring"'
    file=$(grep -l own_certificate_expiring "$GOT"/*.json)
    jq -e '.event == "certificate" and .member == "a" and .next == "escrowctl status" and .v == 1 and
        .suppressed == 0 and .undelivered == 0 and (.text | contains("expires within 30 days"))' \
        "$file"
    sequence=$(jq -r 'select(.event == "alert") | .sequence' "$BATS_TEST_TMPDIR"/audit/*)
    [ "$(jq .record "$file")" = "$sequence" ]
    recorded=$(date -d "$(jq -r .time "$file")" +%s%3N)
    began=$(cat "${file%.json}.time")
    echo "# began $((began - recorded)) ms after the record"
    [ $((began - recorded)) -lt 1000 ]
    wait_for 5 check ok
    metric delivered 1
}
