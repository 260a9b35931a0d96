#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The chain with logins by Kerberos, in the sandboxes of a release: agents, workers and escrowd's
# probers read krb5_conf and keytab and reach the KDC's port from inside of them.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

setup() {
    # shellcheck disable=SC2034 # for lib/chain
    CHAIN_ESCROWD=${CHAIN_ESCROWD:-$BUILD/tests/plain/escrowd}
    # shellcheck disable=SC2034
    CHAIN_AGENT=${CHAIN_AGENT:-$BUILD/tests/plain/escrow-agent}
    load lib/chain
    load kerberos
    CHAIN=$BATS_TEST_TMPDIR/chain
    REALM=$CHAIN/realm
    # shellcheck disable=SC2034
    CHAIN_REALM=$REALM
    chmod 0755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"
    # shellcheck disable=SC2034
    CHAIN_DEADLINE=5s
    chain_prepare 2
    REALM_UDP='' realm_make
    kdc_start
    realm
}

teardown() {
    local status=0
    chain_end || status=$?
    [ "$status" -eq 0 ] || tail -n 40 "$CHAIN"/log/* >&2
    return "$status"
}

# realm: sqlsim, and the principals of its instances and of who logs in
realm() {
    local node services=() login
    chain_sqlsim <<<master-key-password
    for node in "${CHAIN_NODES[@]}"; do
        services+=("MSSQLSvc/$node.test:$(sql_port "$node")")
    done
    realm_add "${services[@]}" escrow_agent escrow_prober
    realm_keytab "$REALM/service.keytab" "${services[@]}"
    for login in agent prober; do
        realm_keytab "$CHAIN/keys/$login.keytab" "escrow_$login"
    done
    owned "$CHAIN_PROBER" "$CHAIN/keys/prober.keytab"
}

@test "as released, by keytab: deposit, promotions, and a KDC that is gone, then silent" {
    chain_member || { cat "$CHAIN/log/member" >&2 && false; }
    chain_escrowd
    chain_publish
    chain_deposit <<<master-key-password
    chain_agents
    sim failover SQL2
    sim wait opens SQL2
    run -0 sim log SQL2
    run -0 jq -r '[.statements[].login] | unique | join(" ")' <<<"$output"
    assert_output 'ESCROW\escrow_agent ESCROW\escrow_prober'


    # Who watches has a ticket; a worker is new and has none.
    end kdc
    sim failover SQL1
    wait_log agent-sql1 "no ticket for .*: Cannot contact any KDC for realm 'ESCROW.TEST'"
    kdc_start
    sim wait opens SQL1 --timeout 60000

    kill -STOP "${CHAIN_PIDS["kdc"]}"
    sim failover SQL2
    wait_log agent-sql2 'died: its time of .* was over in step connect, where something hangs; next attempt in' 1 30
    kill -CONT "${CHAIN_PIDS["kdc"]}"
    sim wait opens SQL2 --timeout 60000
    run ! grep 'system call that its sandbox' "$CHAIN"/log/*
}
