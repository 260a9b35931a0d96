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

@test "a prober asks about all groups of its instance over one session" {
    local group node
    CHAIN_GROUPS='two three four'
    chain_serve 2 <<<"of no meaning"
    for group in $CHAIN_GROUPS; do
        wait_log escrowd "epoch record=.* group=$group"
    done
    sim failover SQL2 --group three
    wait_log escrowd "epoch record=.* group=three" 2
    for node in SQL1 SQL2; do
        assert_equal "$(sessions "$node")" 1
    done
}
