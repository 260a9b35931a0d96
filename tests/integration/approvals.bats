#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Releases that wait for admins, in the whole chain with two escrowds: where approvals count, which
# escrowd lets go, and what becomes of the request at the other.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

PASSWORD=approved-master-key-password
WAITS='waits for an approval: request [0-9]* .rival_primary.; an admin runs: escrowctl approve [0-9]* --escrowd'
E1=spiffe://test/escrowd/e1
E2=spiffe://test/escrowd/e2
OPENED='the master key opens by itself again'

setup() {
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

boss() {
    "$BUILD/client/escrowctl" --config "$CHAIN/boss.yaml" "$@"
}

# begin [RULES]: two escrowds and three replicas; SQL2 is promoted beside SQL3, which says that it is
# primary too. Its agent waits at both.
begin() {
    # shellcheck disable=SC2034 # of lib/chain.bash
    CHAIN_SECOND=1 CHAIN_ADMINS=boss CHAIN_RULES=${1:-}
    chain_serve 3 <<<"$PASSWORD"
    chain_person boss
    chain_deposit <<<"$PASSWORD"
    sim set SQL3.role PRIMARY >/dev/null
    sim failover SQL2 >/dev/null
    sim wait primary SQL2 >/dev/null
    chain_agent sql2
    wait_log agent-sql2 "$WAITS $E1\$" 1 60
    wait_log agent-sql2 "$WAITS $E2\$" 1 60
}

# request ESCROWD: the number that waits there.
request() {
    ctl --output json pending |
        jq -r --arg escrowd "$1" '.requests[] | select(.escrowd == $escrowd) | .request'
}

# records FOLDER EVENT: decision and reason of such records of that log, in order.
records() {
    cat "$CHAIN/$1"/*.jsonl | jq -r --arg event "$2" 'select(.event == $event)
        | "\(.replica) \(.decision) \(.reason)"'
}

# next_command ESCROWD [COLUMN]: what `escrowctl pending` says to run there, as a person copies it.
next_command() {
    ctl pending | sed -n -E "s|.* (escrowctl approve [0-9]+ --escrowd $1)\$|\\1|p"
}

# as_printed WHO COMMAND...: runs it as printed; WHO has escrowctl in his path and his configuration.
as_printed() {
    [ "$2" = escrowctl ]
    "$BUILD/client/escrowctl" --config "$CHAIN/$1.yaml" "${@:3}" --yes
}

@test "approvals count where they are given: one at each escrowd is not two, and it is said" {
    local command_1 command_2
    begin
    read -ra command_1 <<<"$(next_command "$E1")"
    read -ra command_2 <<<"$(next_command "$E2")"
    run -0 as_printed admin "${command_1[@]}"
    assert_line --regexp '^1 of 2 admins have approved here; what is approved at another escrowd does not count[.] The next admin runs: escrowctl approve [0-9]+ --escrowd '"$E1\$"
    run -0 as_printed boss "${command_2[@]}"
    assert_line --regexp '^1 of 2 admins have approved here; .* --escrowd '"$E2\$"
    run -0 ctl pending
    assert_equal "$(grep -c ' 1 of 2 ' <<<"$output")" 2
    # The worker asks again, and still gets nothing at either.
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql2/notify"
    run -0 records audit release
    refute_output --partial allow
    run -0 records audit-2 release
    refute_output --partial allow

    # The second admin at one of them: that one lets go, and it alone.
    run -0 as_printed boss "${command_1[@]}"
    refute_line --partial 'admins have approved here'
    assert_line --regexp "^enough admins have approved: .*: escrowctl audit show --from [0-9]+ --escrowd $E1\$"
    assert_line --regexp '^  look at +escrowctl policy explain --group ssis --replica sql2$'
    sim wait opens SQL2 --timeout 60000
    wait_log agent-sql2 "$OPENED" 1 60
    run -0 records audit release
    assert_output 'sql2 needs_approval rival_primary
sql2 allow approved'
    run -0 records audit-2 release
    assert_output 'sql2 needs_approval rival_primary'
    # At the other the request ends, and its record says how; an admin who comes late is told.
    wait_log escrowd-2 'expired record=[0-9]* reason=master_key_opens purpose=promote group=ssis database=SSISDB replica=sql2' 1 90
    run -0 records audit-2 expired
    assert_output 'sql2 null master_key_opens'
    run -0 ctl pending
    refute_output --partial sql2
    run -6 as_printed admin "${command_2[@]}"
    assert_output --partial 'is closed: there is nothing to approve'
    run -0 records audit expired
    assert_output ''
}

@test "one escrowd is down: the other one's admins are enough, and the one that comes back has nothing to do" {
    local number
    begin
    number=$(request 127.0.0.2)
    end escrowd
    run ! ctl pending
    assert_output --partial "escrowctl approve $number --escrowd $E2"
    run -0 ctl approve "$number" --escrowd 127.0.0.2 --yes
    run -0 boss approve "$number" --escrowd "$E2" --yes
    sim wait opens SQL2 --timeout 60000
    wait_log agent-sql2 "$OPENED" 1 60
    chain_escrowd
    run -0 records audit release
    assert_output 'sql2 needs_approval rival_primary'
    run -0 records audit-2 release
    assert_line --index 1 'sql2 allow approved'
}

@test "a request of a worker that died is void: what was approved lets nothing out, and the next one asks anew" {
    local number worker
    begin
    number=$(request 127.0.0.1)
    worker=$(pgrep -P "${CHAIN_PIDS[agent-sql2]}" -f -- '--role worker')
    kill -KILL "$worker"
    timeout 30 tail --pid="$worker" -s 0.05 -f /dev/null
    ctl approve "$number" --escrowd 127.0.0.1 --yes
    boss approve "$number" --escrowd 127.0.0.1 --yes || true # the next worker may be there already
    wait_log agent-sql2 "$WAITS $E1\$" 2 60
    run -0 request 127.0.0.1
    refute_output "$number"
    run -6 ctl approve "$number" --escrowd 127.0.0.1 --yes
    assert_output --partial 'is closed'
    number=$(request 127.0.0.1)
    run -0 records audit release
    refute_output --partial allow
    run -0 ctl approve "$number" --escrowd 127.0.0.1 --yes
    run -0 boss approve "$number" --escrowd 127.0.0.1 --yes
    sim wait opens SQL2 --timeout 60000
}

@test "approvals that expire count no more: the worker ends, says so, and the next one is served" {
    local number
    begin 'approval_expiry: 5s'
    number=$(request 127.0.0.1)
    run -0 ctl approve "$number" --escrowd 127.0.0.1 --yes
    wait_log escrowd 'expired record=[0-9]* reason=request_expired .*replica=sql2'
    wait_log escrowd-2 'expired record=[0-9]* reason=request_expired .*replica=sql2'
    run -6 boss approve "$number" --escrowd 127.0.0.1 --yes
    assert_output --partial expired
    wait_log agent-sql2 'has expired: not enough admins have approved it in its time; next attempt in'
    run -0 records audit release
    refute_output --partial allow
    # What needed admins is over: no old approval is used for it, and none is needed.
    sim set SQL3.role '' >/dev/null
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql2/notify"
    sim wait opens SQL2 --timeout 60000
    wait_log agent-sql2 "$OPENED" 1 60
    run bash -c "cat '$CHAIN'/audit/*.jsonl '$CHAIN'/audit-2/*.jsonl | jq -r 'select(.event == \"release\" and .decision == \"allow\") | .reason'"
    assert_output promotion
}

# shown TEXT [SECONDS]: waits until `escrowctl pending` has it for both escrowds.
shown() {
    local deadline=$((SECONDS + ${2:-30}))
    until run ctl pending && [ "$(grep -c -- "$1" <<<"$output")" -eq 2 ]; do
        [ "$SECONDS" -lt "$deadline" ] || {
            echo "$output"
            return 1
        }
        read -r -t 0.2 <> <(:) || true
    done
}

@test "a request whose agent is gone says so, until the agent is back" {
    [ "${ESCROW_TEST_ALL:-0}" = 1 ] || skip "waits for a minute: ESCROW_TEST_ALL=1"
    local number
    begin
    number=$(request 127.0.0.1)
    end agent-sql2
    run -0 ctl pending
    refute_output --partial 'But:'
    shown 'But: The agent of sql2 has neither asked nor waited for it since 20..-.*Z: unless it does, approving releases nothing.' 90
    chain_agent sql2
    wait_log agent-sql2 "$WAITS $E1\$" 2 60
    run -0 ctl pending
    refute_output --partial 'But:'
    run -0 request 127.0.0.1
    refute_output "$number"
}

# An end for every text that an escrowd may choose: it clears the screen and begins a line.
CONTROLS='def spoilt: walk(if type == "string" then . + "\u001b[2J\u009b2J\r\nforged\u007f" else . end);'

# ask PATH: as the admin.
ask() {
    curl -s --cert "$CHAIN/pki/admin.pem" --key "$CHAIN/pki/admin.key" --cacert "$CHAIN/ca/ca.pem" \
        "https://127.0.0.1:$CHAIN_PORT/v1/$1"
}

# lie NUMBER: another first escrowd, which says the same, but spoilt as far as escrowctl goes on with it.
lie() {
    ask roster >told.roster
    ask 'explain?target=1' >told.explain
    ask status | jq "$CONTROLS"' . as $said | spoilt | .rules = $said.rules
        | .ready = false | .reasons = ["policy_invalid", 1] | .reasons |= spoilt
        | .warnings = [{check: "x", reason: "y", detail: "z"} | spoilt]
        | .groups[0] += ($said.groups[0] | {group, database})
        | .groups[0].membership = {added: [1, "x" | spoilt], missing: ["y" | spoilt]}
        | .groups[0].replicas += [{instance: "x", role: null, diagnosis: "y"} | spoilt]
        | .requests[0] += ($said.requests[0] | {group, database})' >told.status
    ask "requests?number=$1" | jq "$CONTROLS"' . as $said | spoilt
        | . += ($said | {act, state})' >told.requests
    spawn liar "$BATS_TEST_DIRNAME/audit_server.py" "$CHAIN/pki/escrowd-e1.pem" \
        "$CHAIN/pki/escrowd-e1.key" "$CHAIN/ca/ca.pem" "$PWD/told"
    wait_log liar '^port '
    CHAIN_SECOND='' CHAIN_PORT=$(tail -n 1 "$CHAIN/log/liar" | cut -d ' ' -f 2) chain_person liar
    sed -i 's/liar[.]\(pem\|key\|act\)/admin.\1/' "$CHAIN/liar.yaml"
}

# spoilt STATUS COMMAND...: what it says reaches the terminal, and does nothing there.
spoilt() {
    run "-$1" "$BUILD/client/escrowctl" --config "$CHAIN/liar.yaml" "${@:2}"
    assert_output --partial forged
    refute_line --regexp '^forged'
    refute env LC_ALL=C grep -aqP '[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' <<<"$output"
}

@test "nothing that an escrowd says steers the terminal of an admin" {
    local number
    begin
    number=$(request 127.0.0.1)
    sim set SQL2.role RESOLVING >/dev/null
    shown 'But: sql2 has not said that it is primary since'
    cd "$BATS_TEST_TMPDIR"
    lie "$number"
    spoilt 0 pending
    assert_output --partial 'since 20'
    spoilt 0 status
    spoilt 0 policy explain
    assert_output --partial '  but: sql2'
    spoilt 5 approve "$number"
    assert_line --partial '  but        sql2'
    jq "$CONTROLS .state |= spoilt" told.requests >told && mv told told.requests
    spoilt 6 approve "$number"
    assert_output --partial 'there is nothing to approve'
}

@test "a request whose replica is not primary any more says so, and ends when another one is" {
    local number
    begin
    number=$(request 127.0.0.1)
    run -0 ctl approve "$number" --escrowd "$E1" --yes
    refute_output --partial 'releases nothing'
    sim set SQL2.role RESOLVING >/dev/null
    shown 'But: sql2 has not said that it is primary since 20..-.*Z: until it does, approving releases nothing.'
    run -0 ctl status
    assert_output --partial 'until it does, approving releases nothing'
    run -0 ctl policy explain --group ssis
    assert_line --regexp '^  but: sql2 has not said that it is primary since .*Z: until it does'
    run -0 boss approve "$number" --escrowd "$E1" --yes
    assert_line --partial '  but        sql2 has not said that it is primary since'
    sim set SQL2.role '' >/dev/null
    sim set SQL3.role '' >/dev/null
    sim failover SQL3 >/dev/null
    sim wait primary SQL3 >/dev/null
    wait_log escrowd 'epoch record=.*replica=sql3' 1 30
    wait_log escrowd-2 'epoch record=.*replica=sql3' 1 30
    run -0 ctl pending
    refute_output --partial sql2
    run -6 ctl approve "$number" --escrowd "$E1" --yes
    assert_output --partial 'is closed: there is nothing to approve'
    run -0 records audit release
    refute_output --partial 'sql2 allow'
}
