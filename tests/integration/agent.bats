#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrow-agent at SQL Server, with an escrowd that does not answer: what it watches, what it says,
# and how it waits. The whole chain is in chain.bats.

bats_load_library bats-support
bats_load_library bats-assert
load ../sqlsim/sqlsim
load lib/agent

setup_file() {
    agent_certificates
}

setup() {
    agent_prepare
}

teardown() {
    agent_teardown
}

# child_of PID ROLE
child_of() {
    pgrep -P "$1" -f -- "--role $2"
}

@test "a secondary is left alone, and promoted it is looked after" {
    simulate
    agent_start SQL2
    wait_log agent 'SQL2/SSISDB: not primary, or not writable: nothing to do'
    sqlsim_ctl failover SQL2
    wait_log agent 'SQL2/SSISDB: primary and READ_WRITE: does the master key open?'
    wait_log agent 'SQL2/SSISDB: the master key does not open by itself'
    wait_log agent 'escrowd_unavailable: escrowd 127.0.0.1: .*; next attempt in 0\.2 s'
    # And again, more and more seldom, while nothing changes.
    wait_log agent 'escrowd_unavailable: .*; next attempt in [12]\.[0-9] s'
}

@test "a master key that opens is seen, and nothing else happens" {
    simulate
    agent_start SQL1
    wait_log agent 'SQL1/SSISDB: the master key opens by itself'
    notify
    wait_log agent 'asked to check now'
    sqlsim_ctl wait statement SQL1 SIGNBYCERT 2
    run count_log agent 'worker:|does not open|nothing was asked'
    assert_output 0
}

# ready_worker: SQL2 seems to be on its way to be primary; WORKER is what was made ready, connected
# to the instance and, as there is none, not to an escrowd.
ready_worker() {
    sqlsim_ctl set SQL2.role RESOLVING
    wait_log agent 'SQL2/SSISDB: it may become primary: a worker is made ready' "${1:-1}"
    wait_log agent 'worker: SQL2/SSISDB: not ready: escrowd 127.0.0.1: ' "${1:-1}"
    WORKER=$(child_of "${CHAIN_PIDS[agent]}" worker)
}

# promote: the agent never sees SQL2 as a secondary between.
promote() {
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    sqlsim_ctl set SQL2.role ''
}

# gone PID
gone() {
    timeout 30 tail --pid="$1" -s 0.05 -f /dev/null
}

@test "a worker that was made ready goes when the replica stays what it was" {
    simulate
    agent_start SQL2
    wait_log agent 'SQL2/SSISDB: not primary, or not writable: nothing to do'
    ready_worker
    sqlsim_ctl set SQL2.role ''
    gone "$WORKER"
    # It has logged in, and sent no statement.
    run sqlsim_ctl log SQL2
    assert_success
    refute_output --partial '[SSISDB]'
    # The next sign has a worker of its own. One that ends too early is replaced when needed.
    ready_worker 2
    kill -KILL "$WORKER"
    wait_log agent 'the worker that was made ready has ended: died: killed by signal 9'
    promote
    wait_log agent 'escrowd_unavailable: escrowd 127.0.0.1: .*; next attempt in 0\.2 s'
}

@test "a worker that was made ready is let go at once, and is the one that tries" {
    simulate
    agent_start SQL2
    wait_log agent 'SQL2/SSISDB: not primary, or not writable: nothing to do'
    ready_worker
    promote
    wait_log agent 'does not open: escrowd_unavailable: escrowd 127.0.0.1: '
    # Each worker says what its sandbox is.
    run sed '/does not open: escrowd_unavailable/q' "$CHAIN/log/agent"
    assert_equal "$(grep -c 'worker: sandbox: ' <<<"$output")" 1
}

@test "a worker that was made ready ends with what it was started for, and with its parent" {
    simulate
    agent_start SQL2
    ready_worker
    # It has the password of before.
    cp "$CHAIN/password" "$CHAIN/password.new"
    mv "$CHAIN/password.new" "$CHAIN/password"
    wait_log agent 'its CA, password or keytab file has changed'
    gone "$WORKER"
    ready_worker 2
    echo 'recheck: 30s' >>"$CHAIN/agent.yaml"
    kill -HUP "${CHAIN_PIDS[agent]}"
    wait_log agent 'the configuration has changed'
    gone "$WORKER"
    run count_log agent 'a worker in flight'
    assert_output 0
    ready_worker 3
    end agent KILL || true
    gone "$WORKER"
}

@test "notify ends the wait" {
    simulate
    agent_start SQL1 "recheck: 3600s"
    wait_log agent 'the master key opens by itself'
    sqlsim_ctl dmk drop-service-key
    notify
    wait_log agent 'the master key does not open by itself'
}

@test "notify says what is wrong: no agent, or no right to reach it" {
    run notify
    assert_failure
    assert_output --partial "no agent listens at $CHAIN/agent.sock: No such file or directory: is it running"
    [ "$(id -u)" -eq 0 ] || skip "root becomes somebody else"
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$CHAIN/agent.sock"
    chmod 0600 "$CHAIN/agent.sock"
    chmod 0755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR" "$CHAIN"
    run setpriv --reuid 64999 --clear-groups "$BUILD/client/escrow-agent" notify --socket "$CHAIN/agent.sock"
    assert_failure
    assert_output --partial "agent.sock: Permission denied: run this as root or as the agent's user"
}

@test "notify is a check at once, however seldom the agent looks" {
    simulate
    AGENT_POLL=60s agent_start SQL2
    wait_log agent 'SQL2/SSISDB: not primary, or not writable: nothing to do'
    sqlsim_ctl failover SQL2
    sqlsim_ctl wait primary SQL2
    notify
    # By itself it would look a minute after the last time.
    wait_log agent 'the master key does not open by itself' 1 20
}

@test "an agent that hangs keeps nobody who notifies it: not the first, not one behind a full queue" {
    local i begun
    simulate
    agent_start SQL1
    wait_log agent 'the master key opens by itself'
    kill -STOP "${CHAIN_PIDS[agent]}"
    for i in {1..20}; do
        spawn "notify$i" "$BUILD/client/escrow-agent" notify --socket "$CHAIN/agent.sock"
    done
    begun=$SECONDS
    for i in {1..20}; do
        timeout 30 tail --pid="${CHAIN_PIDS[notify$i]}" -s 0.05 -f /dev/null
        run end "notify$i"
        assert_failure
    done
    # Every one gives up for itself, after 5 s: one behind the other they would need 100.
    [ $((SECONDS - begun)) -lt 50 ]
    kill -CONT "${CHAIN_PIDS[agent]}"
}

@test "a refused login is not tried again before 30 s, even if asked" {
    simulate
    printf 'wrong\n' >"$CHAIN/password"
    agent_start SQL1
    wait_log agent 'SQL1: SQL Server refuses the login \(SQL error 18456\): .* the next question is in (3[0-9]|2[89])\.[0-9] s'
    notify
    notify
    wait_log agent 'asked to check now' 2
    run count_log agent 'refuses the login'
    assert_output 1
}

# replace FILE <CONTENT: as an administrator's tool does it.
replace() {
    (umask 077 && cat >"$1.new")
    mv "$1.new" "$1"
}

@test "a refused login is tried again as soon as its password file is mended" {
    simulate
    printf 'wrong\n' >"$CHAIN/password"
    agent_start SQL1
    wait_log agent 'SQL1: SQL Server refuses the login \(SQL error 18456\)'
    replace "$CHAIN/password" <<<'agent-password'
    wait_log agent 'SQL1: its CA, password or keytab file has changed: the prober starts anew, and a refused login holds nothing back'
    wait_log agent 'SQL1/SSISDB: the master key opens by itself' 1 20
}

@test "a prober that cannot start with its password file starts as soon as that is mended" {
    simulate
    chmod 0644 "$CHAIN/password"
    agent_start SQL1
    # So often that the next start is more than 5 s away.
    wait_log agent 'SQL1: the prober ended .*; started again in 6400 ms' 1 60
    chmod 0600 "$CHAIN/password"
    wait_log agent 'SQL1/SSISDB: the master key opens by itself' 1 5
}

@test "a worker made ready that is refused does not hold up the promotion" {
    simulate
    agent_start SQL2
    wait_log agent 'SQL2/SSISDB: not primary, or not writable: nothing to do'
    # The prober has its connection; only the worker logs in.
    sqlsim_ctl trouble SQL2 error 18456 14 --at login --count 1
    sqlsim_ctl set SQL2.role RESOLVING
    wait_log agent 'SQL2/SSISDB: the worker that was made ready has ended: login_refused \(SQL error 18456\): .*; another one is started when it is needed'
    # On its way once more: one refused login in vain was enough.
    sqlsim_ctl set SQL2.role ''
    wait_log agent 'SQL2/SSISDB: not primary, or not writable: nothing to do'
    sqlsim_ctl set SQL2.role RESOLVING
    promote
    wait_log agent 'SQL2/SSISDB: the master key does not open: escrowd_unavailable' 1 20
    run count_log agent 'a worker is made ready'
    assert_output 1
}

@test "a worker made ready with files that have changed is replaced by one that reads the new ones" {
    local file before count=1
    simulate
    cp "$BATS_FILE_TMPDIR/ca/ca.pem" "$CHAIN/ca.pem"
    cp "$BATS_FILE_TMPDIR/act.key" "$CHAIN/act.key"
    agent_start SQL2
    end agent
    sed -i "s|ca_file: .*/ca/ca.pem|ca_file: $CHAIN/ca.pem|; s|act_key_file: .*|act_key_file: $CHAIN/act.key|" \
        "$CHAIN/agent.yaml"
    spawn agent "$BUILD/client/escrow-agent" run --config "$CHAIN/agent.yaml"
    wait_log agent 'SQL2/SSISDB: not primary, or not writable: nothing to do'
    ready_worker
    for file in "$CHAIN/ca.pem" "$CHAIN/act.key"; do
        before=$WORKER
        replace "$file" < <(cat "$file")
        wait_log agent 'SQL2, group g: its certificate or keys, or what escrowds are known by, have changed' "$count"
        gone "$before"
        count=$((count + 1))
        wait_log agent 'worker: SQL2/SSISDB: not ready: escrowd 127.0.0.1: ' "$count"
        WORKER=$(child_of "${CHAIN_PIDS[agent]}" worker)
    done
    promote
    wait_log agent 'SQL2/SSISDB: the master key does not open: escrowd_unavailable'
}

@test "a missing certificate is said, and no worker starts" {
    simulate
    sqlsim_ctl dmk drop-certificate
    agent_start SQL1
    wait_log agent 'SQL1/SSISDB: the certificate escrowd_probe is missing'
    run child_of "${CHAIN_PIDS[agent]}" worker
    assert_failure
}

@test "a wrong availability group is said" {
    simulate '.group.name = "OTHER"'
    agent_start SQL1
    wait_log agent 'SQL1: no availability group AG1 here, or no right to see it'
}

@test "an instance with SQL Server's own fallback certificate is named as that" {
    simulate '.instances[0] |= del(.certificate, .key)'
    agent_start SQL1
    wait_log agent 'SQL1: the instance cannot be asked: .*the certificate that SQL Server makes for itself'
}

@test "an instance older than SQL Server 2017 is named as that" {
    simulate '.instances[0].version = "13.0.7029.3"'
    agent_start SQL1
    wait_log agent 'SQL1: the instance cannot be asked: SQL1: its version is 13\.0\.7029, and SQL Server 2017 \(14\.0\) or later is needed; asked again every'
    sqlsim_ctl version SQL1 14.0.3456.2
    wait_log agent 'SQL1/SSISDB: the master key opens by itself'
}

@test "an instance that dies and comes back is found again" {
    simulate
    agent_start SQL1
    wait_log agent 'the master key opens by itself'
    sqlsim_ctl kill SQL1
    wait_log agent 'SQL1: the instance cannot be asked'
    sqlsim_ctl start SQL1
    wait_log agent 'SQL1/SSISDB: primary and READ_WRITE' 2
}

@test "a prober that is killed is started again" {
    simulate
    agent_start SQL1
    wait_log agent 'the master key opens by itself'
    kill -KILL "$(child_of "${CHAIN_PIDS[agent]}" prober)"
    wait_log agent 'SQL1: the prober ended \(killed by signal 9 \(Killed\)\)'
    wait_log agent 'the master key opens by itself' 2
}

@test "SIGHUP without a change changes nothing, SIGTERM ends everything" {
    local prober
    simulate
    agent_start SQL1
    wait_log agent 'the master key opens by itself'
    prober=$(child_of "${CHAIN_PIDS[agent]}" prober)
    kill -HUP "${CHAIN_PIDS[agent]}"
    wait_log agent 'the configuration has not changed'
    end agent
    wait_log agent ': stopped$'
    [ ! -e "/proc/$prober" ]
    [ ! -e "$CHAIN/agent.sock" ]
    run notify
    assert_failure
}

@test "killed, it takes its children with it" {
    local prober
    simulate
    agent_start SQL1
    wait_log agent 'the master key opens by itself'
    prober=$(child_of "${CHAIN_PIDS[agent]}" prober)
    end agent KILL || true
    timeout 30 tail --pid="$prober" -s 0.05 -f /dev/null
}

@test "parent and prober cannot be traced, leave no core, gain no privileges" {
    local pid
    simulate
    agent_start SQL1
    wait_log agent 'the master key opens by itself'
    for pid in "${CHAIN_PIDS[agent]}" "$(child_of "${CHAIN_PIDS[agent]}" prober)"; do
        run grep -E 'NoNewPrivs' "/proc/$pid/status"
        assert_output --regexp '1$'
        run grep 'Max core file size' "/proc/$pid/limits"
        assert_output --regexp '^Max core file size +0 +0 '
        # Not dumpable: its files in /proc belong to root, whoever it runs as.
        run stat -c %U "/proc/$pid/mem"
        assert_output root
    done
}

@test "what would stop a worker is said at the start, and when it changes" {
    simulate
    cp "$BATS_FILE_TMPDIR/act.key" "$CHAIN/act.key"
    agent_start SQL1
    wait_log agent 'SQL1, group g: a worker has what it needs of this host'
    end agent
    chmod 0644 "$CHAIN/act.key"
    sed -i "s|act_key_file: .*|act_key_file: $CHAIN/act.key|" "$CHAIN/agent.yaml"
    spawn agent "$BUILD/client/escrow-agent" run --config "$CHAIN/agent.yaml"
    wait_log agent 'rehearsal: .*act.key'
    wait_log agent 'SQL1, group g: a worker cannot work here \(exit status [0-9]+; the lines above say why\)'
    chmod 0600 "$CHAIN/act.key"
    wait_log agent 'SQL1, group g: a worker has what it needs of this host' 2
}

# two_groups: SQL1 is primary of one availability group and secondary of another one, and its agent
# has an entry for each: g, and h with an act key of its own.
two_groups() {
    simulate '.switches = {lockout_threshold: 2}
        | .groups = [{name: "AG1", primary: "SQL1", databases: [.database + {name: "SSISDB"}]},
                     {name: "AG2", primary: "SQL2", databases: [.database + {name: "Sales"}]}]
        | .groups[].replicas = ["SQL1", "SQL2"] | del(.database)'
    agent_start SQL1 "$(agent_entry SQL1 h AG2 Sales "$CHAIN/act.key")"
}

@test "two groups of one instance: each is rehearsed and asked about by itself, over one session" {
    cp "$BATS_FILE_TMPDIR/act.key" "$CHAIN/act.key"
    chmod 0644 "$CHAIN/act.key"
    two_groups
    wait_log agent 'SQL1, group h: a worker cannot work here \(exit status [0-9]+; the lines above say why\)' 1 60
    wait_log agent 'SQL1, group g: a worker has what it needs of this host' 1 60
    # What h lacks does not concern the prober, nor g.
    wait_log agent 'SQL1/SSISDB: the master key opens by itself' 1 60
    wait_log agent 'SQL1/Sales: not primary, or not writable: nothing to do' 1 60
    run jq '[.instances.SQL1.sessions[] | select(.login == "agent")] | length' < <(sqlsim_ctl state)
    assert_output 1
    # Only who has the key is told, and tries anew.
    chmod 0600 "$CHAIN/act.key"
    wait_log agent 'SQL1, group h: its certificate or keys, .*, have changed' 1 60
    wait_log agent 'SQL1, group h: a worker has what it needs of this host' 1 60
    run count_log agent 'group g: its certificate or keys'
    assert_output 0
    # A failover of one is none of the other.
    sqlsim_ctl failover SQL1 --group AG2
    wait_log agent 'SQL1/Sales: the master key does not open by itself' 1 60
    wait_log agent 'SQL1/Sales: the master key does not open: escrowd_unavailable: escrowd 127.0.0.1: ' 1 60
    run count_log agent 'SQL1/SSISDB: (not primary|the master key does not open)'
    assert_output 0
}

@test "a refused login is tried once for all groups of an instance, and mended for all" {
    printf 'wrong\n' >"$CHAIN/password"
    cp "$BATS_FILE_TMPDIR/act.key" "$CHAIN/act.key"
    two_groups
    wait_log agent 'SQL1: SQL Server refuses the login \(SQL error 18456\)' 1 60
    # A second one would have locked the account.
    replace "$CHAIN/password" <<<'agent-password'
    wait_log agent 'SQL1/SSISDB: the master key opens by itself' 1 60
    wait_log agent 'SQL1/Sales: not primary, or not writable: nothing to do' 1 60
    run count_log agent 'SQL1: its CA, password or keytab file has changed'
    assert_output 1
}

@test "a group is taken from the configuration of a running agent, and added to it" {
    cp "$BATS_FILE_TMPDIR/act.key" "$CHAIN/act.key"
    two_groups
    wait_log agent 'SQL1/SSISDB: the master key opens by itself' 1 60
    wait_log agent 'SQL1/Sales: not primary, or not writable: nothing to do' 1 60
    replace "$CHAIN/both.yaml" <"$CHAIN/agent.yaml"
    # Each entry begins with its name.
    sed '/^ *group: h$/,$d' "$CHAIN/both.yaml" | sed '$d' | replace "$CHAIN/agent.yaml"
    wait_log agent 'ready: 1 instances' 2 60
    wait_log agent 'SQL1/SSISDB: the master key opens by itself' 2 60
    # Two entries of one group are refused, and change nothing.
    sed 's/group: h$/group: g/' "$CHAIN/both.yaml" | replace "$CHAIN/agent.yaml"
    wait_log agent 'agent.yaml:[0-9]+:12: the group g of SQL1 has two entries: name all its databases in one' 1 60
    wait_log agent 'the configuration in use stays' 1 60
    run count_log agent 'SQL1/Sales: '
    assert_output 1
    replace "$CHAIN/agent.yaml" <"$CHAIN/both.yaml"
    wait_log agent 'ready: 1 instances' 3 60
    wait_log agent 'SQL1/Sales: not primary, or not writable: nothing to do' 2 60
    wait_log agent 'SQL1/SSISDB: the master key opens by itself' 3 60
}

@test "a wrong configuration is refused with line and column" {
    simulate
    printf 'polls: 1s\n' >"$CHAIN/agent.yaml"
    run "$BUILD/client/escrow-agent" run --config "$CHAIN/agent.yaml"
    assert_failure
    assert_output --partial "agent.yaml:1:1"
    run "$BUILD/client/escrow-agent" run --config "$CHAIN/nothing.yaml"
    assert_failure
    run "$BUILD/client/escrow-agent" walk
    assert_failure 2
}
