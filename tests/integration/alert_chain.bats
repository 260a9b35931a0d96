#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `alert:` in the whole chain with two escrowds: whoever gets an alert runs the command that it names,
# as it stands there, and it shows or does what the alert is about.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

PASSWORD=alerted-master-key-password

setup() {
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
    GOT=$CHAIN/alerts
    mkdir "$GOT"
    chmod 0777 "$GOT"
}

teardown() {
    chain_teardown
    if mountpoint -q "$CHAIN/audit-2"; then umount "$CHAIN/audit-2"; fi
}

# prepare: a command for alert: that keeps each alert, with when it began; everything but running
# escrowds.
prepare() {
    # shellcheck disable=SC2034 # of lib/chain.bash
    CHAIN_SECOND=1 CHAIN_ADMINS=boss CHAIN_ALERT=$CHAIN/alert
    cat >"$CHAIN_ALERT" <<TEXT
#!/bin/bash
jq -c --arg began "\$(date +%s%3N)" '. + {began: (\$began | tonumber)}' >>"$GOT/log"
TEXT
    chmod 0755 "$CHAIN_ALERT"
    touch "$GOT/log"
    chmod 0666 "$GOT/log"
    chain_prepare 3 </dev/null
    chain_sqlsim <<<"$PASSWORD"
    chain_member
}

serve() {
    chain_escrowd
    second chain_escrowd
    chain_publish
    chain_person boss
    chain_deposit <<<"$PASSWORD"
}

# alerted MEMBER FILTER: waits for such an alert, which becomes ALERT, and its command NEXT. Most begin
# within a second of their record: most_within_a_second; a busy machine starts processes late.
alerted() {
    local deadline=$((SECONDS + 60)) late
    until ALERT=$(jq -c -s -e --arg member "$1" \
        "map(select(.member == \$member and ($2))) | last // empty" "$GOT/log"); do
        [ "$SECONDS" -lt "$deadline" ] || {
            echo "no alert of $1: $2" && cat "$GOT/log"
            return 1
        } >&2
        read -r -t 0.05 <> <(:) || true
    done
    late=$(($(jq .began <<<"$ALERT") - $(date -d "$(jq -r .time <<<"$ALERT")" +%s%3N)))
    echo "# $(jq -r .event <<<"$ALERT"): $late ms after its record"
    [ "$late" -lt 15000 ]
    LATE+=("$late")
    read -ra NEXT <<<"$(jq -r .next <<<"$ALERT")"
}

# as_printed WHO WORD...: runs it; WHO has escrowctl in his path and his configuration in its place.
as_printed() {
    [ "$2" = escrowctl ] || return 1
    "$BUILD/client/escrowctl" --config "$CHAIN/$1.yaml" "${@:3}"
}

# most_within_a_second: of the alerts so far.
most_within_a_second() {
    local late count=0
    for late in "${LATE[@]}"; do
        if [ "$late" -lt 1000 ]; then count=$((count + 1)); fi
    done
    echo "# $count of ${#LATE[@]} within a second"
    [ $((2 * count)) -gt "${#LATE[@]}" ]
}

thief() {
    "$BUILD/tests/tools/thief" "$CHAIN_PORT" spiffe://test/escrowd/e1 "$CHAIN/ca/ca.pem" \
        "$CHAIN/pki/agent-$1.pem" "$CHAIN/pki/agent-$1.key" "$CHAIN/keys/$1.act" \
        "$CHAIN/keys/authority.pub" "$CHAIN_GROUP" SSISDB "$1" >/dev/null
}

@test "who is told that a release waits runs what the alert says, and then what that says: it is released" {
    local number command
    prepare
    serve
    sim set SQL3.role PRIMARY >/dev/null
    sim failover SQL2 >/dev/null
    chain_agent sql2
    alerted e2 '.event == "needs_approval" and .reason == "rival_primary" and .replica == "sql2"'
    alerted e1 '.event == "needs_approval" and .reason == "rival_primary" and .replica == "sql2"'
    number=$(jq .record <<<"$ALERT")
    assert_equal "$(jq -r .text <<<"$ALERT")" 'A release waits for the approval of admins. Another replica also says PRIMARY: an admin must approve.'
    run -0 as_printed admin "${NEXT[@]}"
    assert_line --regexp "^$number +ssis +SSISDB +sql2 +promote .* 0 of 2 +Another replica also says PRIMARY.* escrowctl approve $number --escrowd spiffe://test/escrowd/e1\$"
    read -ra command <<<"$(grep -o "escrowctl approve $number --escrowd spiffe://test/escrowd/e1" <<<"$output")"
    run -0 as_printed admin "${command[@]}" --yes
    run -0 as_printed boss "${command[@]}" --yes
    sim wait opens SQL2 --timeout 60000
}

@test "each other alert names a command that shows what it is about" {
    local pem
    prepare
    if [ "$(id -u)" -eq 0 ]; then
        mount -t tmpfs -o size=1m,mode=0755 tmpfs "$CHAIN/audit-2" || skip "cannot mount"
        chown --reference="$CHAIN/escrowd-2" "$CHAIN/audit-2"
    fi
    serve

    thief sql2
    alerted e1 '.event == "refused" and .reason == "candidate_not_primary"'
    run -0 as_printed admin "${NEXT[@]}"
    assert_output --regexp "^record $(jq .record <<<"$ALERT"), .*: promote SSISDB of ssis for sql2: deny [(]candidate_not_primary[)]"
    assert_output --partial 'the same'

    sim replica remove SQL3 >/dev/null
    alerted e1 '.event == "membership_differs" and .replica == "sql1"'
    run -0 as_printed admin "${NEXT[@]}"
    assert_line --regexp '^  ssis: replicas in SQL Server that the policy lacks: none; in the policy that SQL Server lacks: SQL3$'
    sim replica add SQL3 >/dev/null

    # Agent and replica do not say the same; to be seen in what the log has since the grant.
    sim trouble SQL2 error 15581 16 --login escrow_prober --statement SIGNBYCERT >/dev/null
    sim failover SQL2 >/dev/null
    chain_agent sql2
    alerted e1 '.event == "grant_unsettled" and .reason == "grant_disproved"'
    run -0 as_printed admin "${NEXT[@]}"
    assert_line --regexp ' release +ssis +SSISDB +sql2 +2 +allow +promotion '
    assert_line --regexp "^$(jq .record <<<"$ALERT") .* settle .* grant_disproved"
    run -0 ctl status
    assert_line --partial '  warns: 1 grants are not settled'

    pem=$CHAIN/pki/escrowd-e1.pem
    openssl x509 -x509toreq -copy_extensions copyall -in "$pem" -signkey "${pem%.pem}.key" 2>/dev/null |
        openssl x509 -req -copy_extensions copyall -CA "$CHAIN/ca/ca.pem" \
            -CAkey "$CHAIN/ca/ca.key" -days 20 -set_serial 0x77001122 -out "$pem.new" 2>/dev/null
    mv "$pem.new" "$pem"
    alerted e1 '.event == "certificate" and .reason == "own_certificate_expiring"'
    run -0 as_printed admin "${NEXT[@]}"
    assert_line '  warns: own_certificate_expiring: The certificate of this member expires within 30 days. (spiffe://test/escrowd/e1)'

    if mountpoint -q "$CHAIN/audit-2"; then
        alerted e2 '.event == "log_trouble" and .reason == "log_space_low"'
        run -0 as_printed admin "${NEXT[@]}"
        assert_line --partial '  warns: log_space_low: '
        head -c 2M /dev/zero >"$CHAIN/audit-2/filler" 2>/dev/null || true
        # Anything that is to be recorded.
        run ! ctl rebaseline --group ssis --database SSISDB sql2
        alerted e2 '.event == "log_trouble" and .reason == "log_unavailable"'
        run -0 as_printed admin "${NEXT[@]}"
        # A record that is small enough may find a place meanwhile; then it warns again.
        assert_line --regexp '^  (fails: log_unavailable|warns: log_space_low): '
        rm "$CHAIN/audit-2/filler"
        alerted e2 '.event == "log_back"'
        run -0 as_printed admin "${NEXT[@]}"
        assert_output --partial ' log_back '
    fi
    most_within_a_second
}
