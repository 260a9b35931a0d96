#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The chain in the sandboxes of a release: the sanitizer build, on which all other suites run, needs
# wider ones. What a role may not do is in tests/plain.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

setup() {
    # shellcheck disable=SC2034 # for lib/chain
    # A name, so that it is looked up inside of the sandboxes.
    CHAIN_ADDRESS=localhost
    # shellcheck disable=SC2034
    CHAIN_ESCROWD=${CHAIN_ESCROWD:-$BUILD/tests/plain/escrowd}
    # shellcheck disable=SC2034
    CHAIN_AGENT=${CHAIN_AGENT:-$BUILD/tests/plain/escrow-agent}
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

@test "as released: deposit, three promotions, a restart and a new revocation list" {
    chain_serve 3 <<<master-key-password
    chain_deposit <<<master-key-password
    chain_agents
    sim failover SQL2
    sim wait opens SQL2
    "$CHAIN_CERTS" revoke "$CHAIN/ca" "$CHAIN/pki/auditor.pem"
    kill -HUP "${CHAIN_PIDS[escrowd]}"
    sim failover SQL3
    sim wait opens SQL3
    end escrowd
    chain_escrowd
    sim failover SQL1
    sim wait opens SQL1 --timeout 60000
    run ! grep -E 'system call that its sandbox|killed by signal' "$CHAIN"/log/*
    # Each role says in one line what is on; on a full kernel nothing is missing.
    run -0 grep -h -o 'sandbox: .*' "$CHAIN/log/escrowd"
    assert_line --partial 'network: none; system calls: listed'
}
