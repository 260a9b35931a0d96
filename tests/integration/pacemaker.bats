#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The alert agent, started as Pacemaker starts it: the variables are those of "Pacemaker
# Administration", chapter "Alert Agents", table "Environment variables passed to alert agents".

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load ../sqlsim/sqlsim
load lib/agent

PACEMAKER=$BATS_TEST_DIRNAME/../../client/pacemaker
ASKED='asked to check now'

setup_file() {
    agent_certificates
}

setup() {
    agent_prepare
}

teardown() {
    agent_teardown
}

# alert VARIABLE=VALUE...: these, and what comes with every alert.
alert() {
    env -i PATH="$PATH" CRM_alert_version=2.1.5 CRM_alert_node_sequence=7 \
        CRM_alert_timestamp=12:00:00.000000 CRM_alert_timestamp_epoch=1767225600 \
        CRM_alert_timestamp_usec=0 CRM_alert_recipient="$CHAIN/agent.sock" \
        escrow_agent="$BUILD/client/escrow-agent" "$@" "$PACEMAKER/escrow-alert"
}

# resource TASK RC [VARIABLE=VALUE...]: an operation of the group's resource on node sql1.
resource() {
    local task=$1 rc=$2
    shift 2
    alert CRM_alert_kind=resource CRM_alert_node=sql1 CRM_alert_desc=ok CRM_alert_task="$task" \
        CRM_alert_rc="$rc" CRM_alert_rsc=ag_cluster:0 CRM_alert_status=0 CRM_alert_target_rc=0 \
        CRM_alert_interval=0 CRM_alert_exec_time=1520 "$@"
}

# asked COUNT: so often has the agent been asked, and nobody is about to ask.
asked() {
    assert_equal "$(count_log agent "$ASKED")" "$1"
}

# stub: a program in the place of escrow-agent that says its arguments, and fails.
stub() {
    cat >"$CHAIN/stub" <<'TEXT'
#!/bin/sh
printf '<%s>' "$@" >&2
exit 9
TEXT
    chmod 0755 "$CHAIN/stub"
}

# agent_ready [NODE]: an agent that looks by itself once a minute.
agent_ready() {
    simulate
    AGENT_POLL=60s agent_start "${1:-SQL1}" "recheck: 3600s"
}

@test "a promote that succeeded: the agent finds the new primary at once" {
    agent_ready SQL2
    wait_log agent 'not primary, or not writable: nothing to do'
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    run -0 resource promote 0
    assert_output "escrow-alert: promote of ag_cluster:0: the agent at $CHAIN/agent.sock checks now"
    wait_log agent 'the master key does not open by itself'
}

@test "what may have made this node primary, or cleared its way, makes the agent look" {
    local looks=0
    agent_ready
    for event in "CRM_alert_kind=resource CRM_alert_task=promote CRM_alert_rc=0 CRM_alert_rsc=ag" \
        "CRM_alert_kind=resource CRM_alert_task=start CRM_alert_rc=0 CRM_alert_rsc=mssql" \
        "CRM_alert_kind=resource CRM_alert_task=monitor CRM_alert_rc=8 CRM_alert_rsc=ag:1" \
        "CRM_alert_kind=fencing CRM_alert_task=st_notify_fence CRM_alert_rc=0 CRM_alert_node=sql2" \
        "CRM_alert_kind=node CRM_alert_desc=lost CRM_alert_node=sql2 CRM_alert_nodeid=2" \
        "CRM_alert_kind=node CRM_alert_desc=member CRM_alert_node=sql2 CRM_alert_nodeid=2"; do
        # shellcheck disable=SC2086 # a list of variables
        run -0 alert $event
        assert_output --partial 'checks now'
        asked $((looks += 1))
    done
}

@test "anything else does not" {
    stub
    for event in "CRM_alert_kind=resource CRM_alert_task=promote CRM_alert_rc=1 CRM_alert_rsc=ag" \
        "CRM_alert_kind=resource CRM_alert_task=promote CRM_alert_rsc=ag" \
        "CRM_alert_kind=resource CRM_alert_task=demote CRM_alert_rc=0 CRM_alert_rsc=ag" \
        "CRM_alert_kind=resource CRM_alert_task=stop CRM_alert_rc=0 CRM_alert_rsc=ag" \
        "CRM_alert_kind=resource CRM_alert_task=monitor CRM_alert_rc=7 CRM_alert_rsc=ag" \
        "CRM_alert_kind=resource CRM_alert_rc=0" "CRM_alert_kind=resource" \
        "CRM_alert_kind=fencing CRM_alert_task=st_notify_fence CRM_alert_rc=-62" \
        "CRM_alert_kind=fencing" "CRM_alert_kind=unheard-of CRM_alert_rc=0" \
        "CRM_alert_kind=attribute CRM_alert_attribute_name=master-ag CRM_alert_attribute_value=20"; do
        # shellcheck disable=SC2086 # a list of variables
        run -0 alert $event escrow_agent="$CHAIN/stub"
        assert_output ''
    done
}

@test "the option escrow_resource: other resources are none of its business" {
    stub
    run -0 resource promote 0 escrow_agent="$CHAIN/stub" escrow_resource=drbd
    assert_output ''
    run -1 resource promote 0 escrow_agent="$CHAIN/stub" escrow_resource=ag_cluster
    run -1 resource promote 0 escrow_agent="$CHAIN/stub" escrow_resource=ag_cluster:0
    # It says nothing about nodes.
    run -1 alert CRM_alert_kind=node CRM_alert_node=sql2 CRM_alert_desc=lost \
        escrow_agent="$CHAIN/stub" escrow_resource=drbd
    assert_output --partial '<notify>'
}

@test "two agents on one host: each has its socket, and each recipient is called" {
    agent_ready
    AGENT=other AGENT_POLL=60s agent_start SQL2 "recheck: 3600s"
    run -0 resource promote 0 CRM_alert_recipient="$CHAIN/other.sock"
    assert_equal "$(count_log other "$ASKED")" 1
    asked 0
    run -0 resource promote 0
    asked 1
}

@test "no agent runs: exit status 1, and a line that says so" {
    run -1 resource promote 0
    assert_output --regexp "^escrow-alert: promote of ag_cluster:0: the agent at $CHAIN/agent.sock could not be asked \(exit status [0-9]+\): .*no agent listens at .*; it looks by itself at its next poll$"
    # No program, either.
    run -1 resource promote 0 escrow_agent=/nonexistent
    assert_output --partial 'could not be asked (exit status 127)'
}

@test "an agent that hangs: exit status 1 in a bounded time" {
    local start_ms
    agent_ready
    kill -STOP "${CHAIN_PIDS[agent]}"
    start_ms=$(date +%s%3N)
    run -1 resource promote 0
    [ $(($(date +%s%3N) - start_ms)) -lt 30000 ]
    assert_output --partial 'did not answer within 5000 ms'
    kill -CONT "${CHAIN_PIDS[agent]}"
}

@test "no recipient: the default socket; a recipient that is no path is refused" {
    stub
    run -1 resource promote 0 CRM_alert_recipient= escrow_agent="$CHAIN/stub"
    assert_output --partial 'exit status 9): <notify><--socket></run/escrow-agent/notify.sock>;'
    run -1 resource promote 0 CRM_alert_recipient=admin@example.net escrow_agent="$CHAIN/stub"
    assert_output --partial 'must be the path of the agent'
    refute_output --partial '<notify>'
}

@test "what the cluster's configuration holds is an argument and a line of text, no more" {
    stub
    run -1 resource promote 0 escrow_agent="$CHAIN/stub" \
        CRM_alert_recipient="/x\$(touch $CHAIN/pwned); touch $CHAIN/pwned *" \
        CRM_alert_rsc=$'ag\nJan 1 00:00:00 sshd: forged\e[2J'
    assert_equal "${#lines[@]}" 1
    refute_output --partial $'\e'
    [ ! -e "$CHAIN/pwned" ]
    run -0 alert CRM_alert_kind='*' CRM_alert_task='*' CRM_alert_rc='*' escrow_agent="$CHAIN/stub"
    assert_output ''
}

@test "by hand, without Pacemaker's variables: said, and nothing is done" {
    run -0 env -i PATH="$PATH" "$PACEMAKER/escrow-alert"
    assert_output --partial 'CRM_alert_kind is not set'
}

@test "as hacluster it takes the one command that the sudoers file allows" {
    local allowed script
    [ "$(id -u)" -eq 0 ] || skip "only root can become another user"
    mkdir -m 1777 "$CHAIN/bin"
    # A sudo that refuses, and notes what it was asked for.
    cat >"$CHAIN/bin/sudo" <<TEXT
#!/bin/sh
printf '%s ' "\$@" >"$CHAIN/bin/asked"
exit 1
TEXT
    chmod 0755 "$CHAIN/bin/sudo"
    script=$(declare -f alert resource)
    run -1 setpriv --reuid 64810 --regid 64810 --clear-groups env CHAIN="$CHAIN" BUILD="$BUILD" \
        PACEMAKER="$PACEMAKER" bash -c "$script
            resource promote 0 CRM_alert_recipient= escrow_agent= PATH='$CHAIN/bin:$PATH'"
    assert_output --partial 'could not be asked (exit status 1)'
    allowed=$(sed -n 's/^hacluster ALL=(escrow-agent) NOPASSWD: //p' \
        "$PACEMAKER/escrow-alert.sudoers")
    run cat "$CHAIN/bin/asked"
    assert_output "-n -u escrow-agent -- $allowed "
}

@test "the agent hears neither hacluster nor anybody else directly" {
    [ "$(id -u)" -eq 0 ] || skip "only root can become another user"
    agent_ready
    run setpriv --reuid 64810 --regid 64810 --clear-groups \
        "$BUILD/client/escrow-agent" notify --socket "$CHAIN/agent.sock"
    assert_failure
    # Where somebody has opened the socket's permissions, its other end is looked at.
    chmod 0666 "$CHAIN/agent.sock"
    run setpriv --reuid 64810 --regid 64810 --clear-groups \
        "$BUILD/client/escrow-agent" notify --socket "$CHAIN/agent.sock"
    assert_failure
    asked 0
}
