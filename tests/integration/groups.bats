#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Several availability groups on the same instances.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

setup() {
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

# sessions NODE: of the probers' login.
sessions() {
    sim state | jq --arg name "$1" \
        '[.instances[$name].sessions[] | select(.login == "escrow_prober")] | length'
}

# questions NODE: of the probers' login, each kind once; of many databases with their number.
questions() {
    sim log "$1" | jq -c '[.statements[] | select(.login == "escrow_prober") | .statement
        | if startswith("SELECT wanted.target") then "states of \([scan("\\([0-9]+, N")] | length)"
          else . end] | unique'
}

@test "a prober asks about all groups of its instance over one session" {
    local group node
    CHAIN_GROUPS='two three four'
    chain_serve 2 <<<"of no meaning"
    for group in $CHAIN_GROUPS; do
        wait_log escrowd "epoch record=.* group=$group"
    done
    # The watch alone asks a secondary, and of all groups at once: no statement is of one.
    run -0 questions SQL2
    assert_output '["SELECT quorum_state FROM sys.dm_hadr_cluster","states of 4"]'
    sim failover SQL2 --group three
    wait_log escrowd "epoch record=.* group=three" 2
    for node in SQL1 SQL2; do
        assert_equal "$(sessions "$node")" 1
    done
}
