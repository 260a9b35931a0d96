#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Several availability groups, and many databases, on the same instances.

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

# An escrowd takes 16 connections of an identity: workers without a place would take them from each
# other, and be refused.
@test "twenty databases of one agent: all open after a failover, and escrowd refuses none of them" {
    local database
    CHAIN_DATABASES=$(printf 'd%d ' {1..19})
    CHAIN_DATABASES=${CHAIN_DATABASES% }
    chain_serve 2 <<<"of no meaning"
    for database in SSISDB $CHAIN_DATABASES; do
        chain_deposit "$database" <<<"of no meaning"
    done
    chain_agents
    sim failover SQL2
    wait_log agent-sql2 'the master key opens by itself again' 20 60
    assert_equal "$(count_log agent-sql2 'next attempt')" 0
    assert_equal "$(count_log escrowd overloaded)" 0
}
