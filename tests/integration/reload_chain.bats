#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Files that change under the whole chain: swtpm, escrowd, a modelled availability group, agents.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

PASSWORD="Rotating-Horse-2291-Staple"

setup() {
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

# start: escrowd serves a group of two, SQL1 is primary.
start() {
    chain_serve 2 <<<"$PASSWORD"
}

serial_of() {
    openssl x509 -in "$1" -noout -serial | sed 's/^serial=//' | tr '[:upper:]' '[:lower:]'
}

# loaded JQ-FILTER: of what status says that is loaded.
loaded() {
    ctl status --output json | jq -r ".escrowds[0].tls | $1"
}

# alerts REASON: how many such records the audit log has.
alerts() {
    cat "$CHAIN"/audit/*.jsonl |
        jq -s --arg reason "$1" '[.[] | select(.event == "alert" and .reason == $reason)] | length'
}

@test "status shows what is loaded; what is near its end is alerted once, until it is renewed" {
    local pem=$CHAIN/pki/escrowd-e1.pem
    start
    run loaded .certificate.serial
    assert_output "$(serial_of "$pem")"
    run loaded .certificate.identity
    assert_output spiffe://test/escrowd/e1
    run loaded '[.authorities[].subject, .lists[].issuer] | join(" ")'
    assert_output 'CN=escrow CA CN=escrow CA'
    run alerts own_certificate_expiring
    assert_output 0

    openssl x509 -x509toreq -copy_extensions copyall -in "$pem" -signkey "${pem%.pem}.key" 2>/dev/null |
        openssl x509 -req -copy_extensions copyall -CA "$CHAIN/ca/ca.pem" \
            -CAkey "$CHAIN/ca/ca.key" -days 20 -set_serial 0x77001122 -out "$pem.new" 2>/dev/null
    cp "$pem" "$pem.old"
    mv "$pem.new" "$pem"
    wait_log escrowd 'spiffe://test/escrowd/e1: The certificate of this member expires within 30 days'
    run loaded .certificate.serial
    assert_output 77001122
    run ctl status
    assert_output --partial 77001122
    run alerts own_certificate_expiring
    assert_output 1
    kill -HUP "${CHAIN_PIDS[escrowd]}"
    wait_log escrowd 'new certificate, key, CAs and revocation lists are in use' 2

    mv "$pem.old" "$pem"
    wait_log escrowd 'new certificate, key, CAs and revocation lists are in use' 3
    run loaded .certificate.serial
    assert_output "$(serial_of "$pem")"
    run alerts own_certificate_expiring
    assert_output 1
}

# failover NODE: its agent opens the master key.
failover() {
    sim failover "${1^^}"
    sim wait opens "${1^^}" --timeout 60000
    wait_log "agent-$1" "$1/SSISDB: the master key opens by itself again"
}

@test "agent: a new certificate, password file and configuration count; a wrong one does not" {
    local yaml=$CHAIN/run/sql2/agent.yaml
    start
    chain_deposit <<<"$PASSWORD"
    chain_agents
    # What is wrong is no hindrance: workers and probers use what was right.
    cp "$yaml" "$yaml.good"
    echo "unknown: 1" >>"$yaml"
    wait_log agent-sql2 'the configuration in use stays'
    wait_log agent-sql2 "agent.yaml:[0-9]+:[0-9]+: "
    failover sql2
    sed 's/^poll: .*/poll: 150ms/' "$yaml.good" >"$yaml"
    wait_log agent-sql2 'every instance is watched anew'
    wait_log agent-sql2 "ready: 1 instances, asked every 0\.[12] s" 2

    rm "$CHAIN"/pki/agent-sql1.*
    "$CHAIN_CERTS" agent --id spiffe://test/agent/sql1 --out "$CHAIN/pki" "$CHAIN/ca" \
        >>"$CHAIN/log/certificates" 2>&1
    cp -p "$CHAIN/keys/sql-agent" "$CHAIN/keys/sql-agent.new"
    mv "$CHAIN/keys/sql-agent.new" "$CHAIN/keys/sql-agent"
    wait_log agent-sql1 'its CA, password or keytab file has changed'
    failover sql1
    kill -HUP "${CHAIN_PIDS[agent-sql1]}"
    wait_log agent-sql1 'the configuration has not changed'
    end agent-sql2
}

# prober_password FILE: what escrowd's probers log in with from now on.
prober_password() {
    cp -p "$CHAIN/keys/sql-prober" "$CHAIN/keys/new"
    cat "$1" >"$CHAIN/keys/new"
    mv "$CHAIN/keys/new" "$CHAIN/keys/sql-prober"
}

@test "escrowd: a refused login locks no account, and a mended password file ends the wait" {
    local node
    CHAIN_SWITCHES='{"lockout_threshold": 3}'
    start
    chain_deposit <<<"$PASSWORD"
    chain_agents
    cp "$CHAIN/keys/sql-prober" "$CHAIN/keys/right"
    echo wrong >"$CHAIN/keys/wrong"
    prober_password "$CHAIN/keys/wrong"
    for node in sql1 sql2; do
        wait_log escrowd "$node: the login was refused \(SQL error 18456\): .*, so none is tried again before ..:..:.. UTC; a change of the password, keytab or CA file ends that at once"
        wait_log escrowd "watch: $node cannot be asked for its role .*: login_refused: .* 18456: .*; a login is tried again every 30 s, and as soon as its password, keytab or CA file changes"
    done
    # Each is decided at once, on questions of its own to both instances.
    sim failover SQL2
    wait_log escrowd 'release record=.* decision=deny reason=candidate_unreachable' 4
    prober_password "$CHAIN/keys/right"
    for node in sql1 sql2; do
        wait_log escrowd "prober $node starts anew: its CA, password or keytab file has changed" 2
        wait_log escrowd "watch: $node answers again"
    done
    sim wait opens SQL2 --timeout 60000
}

# agent_files: the agents' own copies of what escrowd is known by.
agent_files() {
    local node
    cp "$CHAIN/ca/ca.pem" "$CHAIN/run/ca.pem"
    cp "$CHAIN/ca/crl.pem" "$CHAIN/run/crl.pem"
    for node in "${CHAIN_NODES[@]}"; do
        end "agent-$node"
        sed -i "s|$CHAIN/ca/|$CHAIN/run/|" "$CHAIN/run/$node/agent.yaml"
        spawn "agent-$node" "$CHAIN_AGENT" --config "$CHAIN/run/$node/agent.yaml"
        wait_log "agent-$node" 'ready: 1 instances' 2
    done
}

# make_ready [COUNT]: sql2 seems to be on its way to be primary.
make_ready() {
    sim set SQL2.role RESOLVING
    wait_log agent-sql2 'worker: sql2/SSISDB: ready, and waits until it is needed' "${1:-1}"
}

# promote: it is, and its agent never saw it as a secondary between.
promote() {
    sim failover SQL2
    sim wait primary SQL2
    sim set SQL2.role ''
    sim wait opens SQL2 --timeout 60000
    wait_log agent-sql2 'sql2/SSISDB: the master key opens by itself again'
}

@test "agent: escrowd has a certificate of another CA: the next promotion believes that one alone" {
    start
    chain_deposit <<<"$PASSWORD"
    chain_agents
    agent_files
    wait_log agent-sql2 'not primary, or not writable' 2
    make_ready
    mkdir -p "$CHAIN/ca2/out"
    "$CHAIN_CERTS" init-ca "$CHAIN/ca2" >>"$CHAIN/log/certificates" 2>&1
    "$CHAIN_CERTS" server --id spiffe://test/escrowd/e1 --ip 127.0.0.1 --out "$CHAIN/ca2/out" \
        "$CHAIN/ca2" >>"$CHAIN/log/certificates" 2>&1
    mv "$CHAIN/ca2/out/escrowd-e1.key" "$CHAIN/ca2/out/escrowd-e1.pem" "$CHAIN/pki"
    wait_log escrowd 'new certificate, key, CAs and revocation lists are in use'
    cp "$CHAIN/ca2/ca.pem" "$CHAIN/run/ca.pem.new"
    cp "$CHAIN/ca2/crl.pem" "$CHAIN/run/crl.pem.new"
    mv "$CHAIN/run/ca.pem.new" "$CHAIN/run/ca.pem"
    mv "$CHAIN/run/crl.pem.new" "$CHAIN/run/crl.pem"
    wait_log agent-sql2 'what escrowds are known by, have changed'
    make_ready 2
    promote
    # The one before has read the CA of before.
    run count_log agent-sql2 'a worker is made ready'
    assert_output 2
}

# publish_new: escrowd gets a roster with one key more.
publish_new() {
    "$CHAIN_CERTS" key act "$CHAIN/keys/late.act"
    ctl_offline enroll --identity "spiffe://test/late" --role auditor --group '*' \
        --act-key "$CHAIN/keys/late.act" --out "$CHAIN/docs/late.enroll"
    ctl_offline roster add-key --key "$CHAIN/keys/authority" --roster "$CHAIN/docs/roster" \
        "$CHAIN/docs/late.enroll"
    ctl publish "$CHAIN/docs/roster"
}

@test "agent: a roster that was published meanwhile counts, also for a worker made ready before" {
    local before
    start
    chain_deposit <<<"$PASSWORD"
    chain_agents
    wait_log agent-sql2 'not primary, or not writable'
    make_ready
    before=$(cat "$CHAIN/run/sql2/roster")
    publish_new >>"$CHAIN/log/publish" 2>&1
    run cat "$CHAIN/run/sql2/roster"
    assert_output "$before"
    promote
    run count_log agent-sql2 'a worker is made ready'
    assert_output 1
    [ "$(cat "$CHAIN/run/sql2/roster")" -gt "$before" ]
    [ "$(cat "$CHAIN/run/sql2/roster")" = "$(ctl status --output json | jq '.escrowds[0].roster')" ]
}

# records JQ-CONDITION: how many records of the audit log fulfil it.
records() {
    cat "$CHAIN"/audit/*.jsonl | jq -s "[.[] | select($1)] | length"
}

# slow_tpm MS: from now on escrowd's TPM takes so much longer for each command.
slow_tpm() {
    "$BUILD/tests/bench/bench_tpm_proxy" "$CHAIN/run/slow" "$CHAIN/tpm/sock" "${1}000" \
        "$CHAIN/run/commands" >"$CHAIN/log/proxy" 2>&1 3>&- &
    CHAIN_PIDS[proxy]=$!
    wait_log proxy ready
    CHAIN_TPM=$CHAIN/run/slow
    end escrowd
    chain_escrowd
}

@test "a certificate that is revoked while the TPM works for its release gets nothing of it" {
    start
    chain_deposit <<<"$PASSWORD"
    slow_tpm 200
    chain_agents
    # The list is made beforehand, so that it counts in the moment it is wanted.
    cp -r "$CHAIN/ca" "$CHAIN/ca-next"
    "$CHAIN_CERTS" revoke "$CHAIN/ca-next" "$CHAIN/pki/agent-sql2.pem"
    sim failover SQL2
    wait_log escrowd 'release record=.* decision=allow' 1 60
    mv "$CHAIN/ca-next/crl.pem" "$CHAIN/ca/crl.pem"
    kill -HUP "${CHAIN_PIDS[escrowd]}"
    wait_log escrowd 'spiffe://test/agent/sql2 is refused while it waits: certificate_revoked'
    wait_log escrowd 'unfinished record=.* reason=role_down' 1 60
    assert_equal "$(records '.event == "receipt"')" 0
    # Nor does it get in again. What is refused there is recorded as a count, at the latest at the end.
    wait_log agent-sql2 'next attempt in' 3
    end escrowd
    wait_log escrowd 'unproved record=.* reason=certificate_revoked'
    assert_equal "$(records '.event == "release"')" 1
}

@test "an agent that is taken out of the roster while the TPM works for its release gets nothing of it" {
    start
    chain_deposit <<<"$PASSWORD"
    slow_tpm 200
    chain_agents
    # Made beforehand, so that it counts in the moment it is wanted.
    cp "$CHAIN/docs/roster" "$CHAIN/docs/without"
    ctl_offline roster remove-key --key "$CHAIN/keys/authority" --roster "$CHAIN/docs/without" \
        spiffe://test/agent/sql2 >>"$CHAIN/log/publish"
    sim failover SQL2
    wait_log escrowd 'release record=.* decision=allow' 1 60
    ctl publish "$CHAIN/docs/without" >>"$CHAIN/log/publish" 2>&1
    wait_log escrowd 'unfinished record=.* replica=sql2' 1 60
    wait_log agent-sql2 'denied/key_unknown: .*next attempt in' 1 60
    assert_equal "$(records '.event == "receipt"')" 0
    assert_equal "$(records '.event == "release" and .decision == "allow"')" 1
}

# change_policy NUMBER: in the midst of whatever goes on. 1 and 2 differ in brake, 3 is none.
change_policy() {
    cp "$CHAIN/policy.$1" "$CHAIN/policy.next"
    mv "$CHAIN/policy.next" "$CHAIN/policy.yaml"
    kill -HUP "${CHAIN_PIDS[escrowd]}"
}

@test "the policy changes during each of many promotions: each is decided by one of them as a whole" {
    local round number=0 one two
    CHAIN_RULES='brake: 100'
    start
    chain_deposit <<<"$PASSWORD"
    chain_agents
    cp "$CHAIN/policy.yaml" "$CHAIN/policy.1"
    sed 's/brake: 100/brake: 200/' "$CHAIN/policy.1" >"$CHAIN/policy.2"
    sed 's/brake: 100/brake: none/' "$CHAIN/policy.1" >"$CHAIN/policy.3"
    for round in 2 3 1 2 3 1; do
        number=$((number + 1))
        sim failover "SQL$((1 + number % 2))" >/dev/null
        change_policy "$round"
        sim wait opens "SQL$((1 + number % 2))" --timeout 60000
    done
    wait_log escrowd 'brake: found .none., expected an integer'
    one=$(sha256sum "$CHAIN/policy.1" | cut -d ' ' -f 1)
    two=$(sha256sum "$CHAIN/policy.2" | cut -d ' ' -f 1)
    run jq -r 'select(.event == "release") | "\(.rules) \(.facts.evidence.rules.brake)"' "$CHAIN"/audit/*.jsonl
    assert_equal "$(sort -u <<<"$output" | grep -c -v -E "^($one 100|$two 200)\$")" 0
    for number in $(jq 'select(.event == "release") | .sequence' "$CHAIN"/audit/*.jsonl); do
        run -0 ctl audit explain "$number"
        assert_output --partial 'the same'
    done
    run records '.event == "release" and .decision == "allow" and .reason == "promotion"'
    assert_output 6
}
