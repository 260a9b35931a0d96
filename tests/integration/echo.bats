#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# echo: true of the policy in the whole chain: what the new primary commits has to be read on another
# replica before its password leaves, and what becomes of it if that cannot be.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

PASSWORD=echoed-master-key-password
FIND='FROM [SSISDB].sys.extended_properties'

setup() {
    load lib/chain
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

# begin READABLE [RULES]: three replicas with their agents; the group wants an echo.
begin() {
    # shellcheck disable=SC2034 # of lib/chain.bash
    CHAIN_READABLE=$1 CHAIN_RULES=$'echo: true\napprovals: 1\n'"${2:-retries: 5}"
    chain_serve 3 <<<"$PASSWORD"
    chain_deposit <<<"$PASSWORD"
    chain_agents
}

# look: the agent of SQL2 looks again now.
look() {
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/run/sql2/notify"
}

# records: decision and reason of each release, in order.
records() {
    cat "$CHAIN"/audit/*.jsonl | jq -r 'select(.event == "release")
        | "\(.replica) \(.decision) \(.reason)"'
}

# facts [NODE]: what the last decision holds of that replica's echo.
facts() {
    cat "$CHAIN"/audit/*.jsonl | jq -r --arg node "$1" 'select(.event == "release")
        | .facts.evidence.facts.replicas[] | select(.instance == $node) | .echo' | tail -n 1
}

# explain: of the last decision, again, by nothing but the log.
explain() {
    local sequence
    sequence=$(cat "$CHAIN"/audit/*.jsonl | jq -r 'select(.event == "release") | .sequence' | tail -n 1)
    ctl_offline audit explain --folder "$CHAIN/audit" "$sequence"
}

@test "a promotion is served when a secondary has read what was committed; late redo only delays it" {
    begin 'SQL2=all SQL3=read_only'
    sim set SQL3.redo_lag on
    sim failover SQL2 >/dev/null
    sim wait primary SQL2 >/dev/null
    sim wait statement SQL3 "$FIND" 3 --timeout 60000 >/dev/null
    run -0 sim state
    assert_equal "$(jq -r '.instances.SQL2.opens' <<<"$output")" false
    sim set SQL3.redo_lag off
    look # should its question have ended meanwhile
    sim wait opens SQL2 --timeout 60000 >/dev/null
    run -0 records
    assert_equal "${lines[-1]}" 'sql2 allow promotion'
    refute_line --partial approved
    assert_equal "$(facts sql3) $(facts sql2)" 'found unasked'
    # The new primary has what it wrote; and SQL1, which is not readable, was of no use.
    refute [ "$(sim log SQL2 | jq --arg find "$FIND" '[.statements[] | select(.statement | contains($find))] | length')" -gt 0 ]
    run -0 explain
    assert_line --regexp '^echo +passed'
    assert_line --regexp '^REPLICA .* ECHO$'
    assert_output --partial 'the same'
    # Nobody is asked for that: an echo is taken for granted as the session is.
    run -0 ctl policy explain --group ssis --replica sql2
    assert_line --regexp '^echo +passed'
    refute_output --partial echo_missing
}

@test "no secondary can be read: an admin is asked, and can let it go" {
    local number
    begin 'SQL1=no' 'retries: 4'
    sim failover SQL2 >/dev/null
    wait_log agent-sql2 'waits for an approval: request [0-9]* .echo_missing.' 1 60
    assert_equal "$(facts sql1) $(facts sql3)" 'missing missing'
    run -0 explain
    assert_line --regexp '^echo +approval +echo_missing'
    assert_line --regexp '^sql3 .* missing: sql_error 976$'
    wait_log escrowd 'sql3 has not read what sql2 committed .sql_error, SQL error 976.' 1 60
    number=$(ctl --output json pending | jq -r '.requests[0].request')
    run -0 ctl approve "$number" --yes
    sim wait opens SQL2 --timeout 60000 >/dev/null
    run -0 records
    assert_output $'sql2 needs_approval echo_missing\nsql2 allow approved'
}

@test "a forced failover waits until data move again: what its primary commits reaches nobody" {
    CHAIN_SWITCHES='{"property_visibility": "connect"}'
    begin 'SQL2=all SQL3=all'
    sim failover --force SQL2 >/dev/null
    wait_log agent-sql2 'waits for an approval: request [0-9]* .echo_missing.' 1 60
    run -0 records
    refute_output --partial allow
    sim set SQL3.suspended off
    # It asks anew by itself, and soon at first.
    sim wait opens SQL2 --timeout 15000 >/dev/null
    run -0 records
    assert_equal "${lines[-1]}" 'sql2 allow promotion'
}

@test "a candidate that escrowd hears alone waits for an admin, even where one witness is enough" {
    begin 'SQL1=all SQL2=all SQL3=all' 'witnesses: 1'
    sim trouble SQL1 partition --login escrow_prober
    sim trouble SQL3 partition --login escrow_prober
    sim failover --force SQL2 >/dev/null
    wait_log agent-sql2 'waits for an approval: request [0-9]* .echo_missing.' 1 60
    run -0 records
    refute_output --partial allow
    assert_equal "$(facts sql1) $(facts sql3)" 'unasked unasked'
}

@test "a session that ends under the commit is made anew, and no admin is asked" {
    begin 'SQL1=all SQL2=all SQL3=all'
    sim trouble SQL2 close --statement sp_addextendedproperty --count 1 >/dev/null
    sim failover SQL2 >/dev/null
    sim wait opens SQL2 --timeout 60000 >/dev/null
    run -0 records
    assert_output 'sql2 allow promotion'
    assert_equal "$(sim state | jq '.instances.SQL2.troubles[0].hits')" 1
}

@test "a commit that hangs, or is refused, does not keep the agent from asking" {
    # shellcheck disable=SC2034 # of lib/chain.bash
    CHAIN_SQL_TIMEOUT=2s
    begin 'SQL1=all SQL2=all SQL3=all'
    sim trouble SQL2 hang --statement sp_addextendedproperty
    sim failover SQL2 >/dev/null
    wait_log agent-sql2 'echo. was not committed: timeout, SQL error 0' 1 60
    wait_log agent-sql2 'waits for an approval: request [0-9]* .echo_missing.' 1 60
    sim trouble SQL2 off
    sim trouble SQL2 error 15247 --statement sp_addextendedproperty
    look
    wait_log agent-sql2 'echo. was not committed: sql, SQL error 15247' 1 60
    sim trouble SQL2 off
    look
    sim wait opens SQL2 --timeout 60000 >/dev/null
    run -0 records
    assert_equal "${lines[-1]}" 'sql2 allow promotion'
    refute_line --partial approved
}
