#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Files that change under the whole chain: swtpm, escrowd, a modelled availability group, agents.

bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

PASSWORD="Rotating-Horse-2291-Staple"

setup() {
    CHAIN=$BATS_TEST_TMPDIR/chain
    mkdir -p "$CHAIN"
    # The users of escrowd's roles come through here.
    chmod 0755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR" "$CHAIN"
}

teardown() {
    local status=0
    chain_end || status=1
    sanitizer_reports || status=1
    if [ "$status" -ne 0 ] || [ -z "${BATS_TEST_COMPLETED:-}" ]; then
        tail -n 30 "$CHAIN"/log/escrowd "$CHAIN"/log/agent-* || true
    fi
    return "$status"
}

# start: escrowd serves a group of two, SQL1 is primary.
start() {
    chain_prepare 2
    chain_sqlsim <<<"$PASSWORD"
    chain_member
    chain_escrowd
    chain_publish
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
