#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A whole run, asserted at the server: what our programs send to SQL Server is plain batches over
# TLS, every password arrives as it was deposited, and a dissector that we did not write finds
# nothing wrong in what was said.

bats_load_library bats-support
bats_load_library bats-assert
load lib/chain
load passwords

SAMPLE=6 # of the passwords; all of them with ESCROW_TEST_ALL=1

setup() {
    chain_folder "$BATS_TEST_TMPDIR"
}

teardown() {
    chain_teardown
}

# sampled: the files pw.* of this run, those that are always wanted first.
sampled() {
    local seed=${ESCROW_TEST_SEED:-$(date +%j)} all=("$BATS_TEST_TMPDIR"/pw.*)
    if [ "${ESCROW_TEST_ALL:-0}" = 1 ]; then
        printf '%s\n' "${all[@]}"
        return
    fi
    echo "# sampled $SAMPLE of ${#all[@]} (seed $seed)" >&3
    printf '%s\n' "${all[@]}" |
        shuf -n "$SAMPLE" --random-source=<(openssl enc -aes-128-ctr -nosalt -K "$(printf '%032d' "$seed")" -iv 0 </dev/zero 2>/dev/null)
}

# statements: every message that the instances got after logins, one JSON line each.
statements() {
    local node
    for node in "${CHAIN_NODES[@]}"; do
        sim log "${node^^}" | jq -c '.statements[]'
    done
}

@test "passwords from deposit to SQL Server: unaltered, plain batches over TLS, nothing malformed" {
    local file before=first node=sql1 count=0 ports=()
    CHAIN_RULES='brake: 20'
    CHAIN_PCAP=$BATS_TEST_TMPDIR/run.pcap
    passwords
    chain_serve 2 <<<"$before"
    chain_agents
    sim set log_statements verbatim >/dev/null
    while read -r file; do
        # The database knows this one password only, so that an older one cannot stand in for it.
        sim dmk add-password - < <(cat "$file" && echo) >/dev/null
        sim dmk drop-password - <<<"$before" >/dev/null
        before=$(cat "$file")
        chain_deposit <"$file"
        [ "$node" = sql1 ] && node=sql2 || node=sql1
        sim failover "${node^^}" >/dev/null
        sim wait opens "${node^^}" --timeout 60000 >/dev/null
        count=$((count + 1))
        wait_log "agent-$node" 'the master key opens by itself again' $(((count + 1) / 2)) 60
    done < <(sampled)
    [ "$count" -ge "$SAMPLE" ]

    statements >"$BATS_TEST_TMPDIR/statements"
    run jq -s -c '[map(.packet, .tls, .known)[]] | unique' "$BATS_TEST_TMPDIR/statements"
    assert_output '[true,"SQLBatch"]'
    # 1.7: a password stands only in a batch that is nothing but OPEN MASTER KEY; one for each.
    run jq -s -c '[.[] | select(.statement | test("PASSWORD|EXEC |sp_"; "i"))] | [length,
        all(.statement | test("^OPEN MASTER KEY DECRYPTION BY PASSWORD = N'\''([^'\'']|'\'''\'')*'\''$")),
        all(.error == 0)]' "$BATS_TEST_TMPDIR/statements"
    assert_output "[$count,true,true]"
    # OPEN, ADD and CLOSE are batches of their own, one after the other in one session.
    run jq -s -c '[.[] | select(.statement | test("^(OPEN|ALTER|CLOSE) MASTER KEY"))]
        | group_by([.session, .login]) | map(map(.statement | sub(" .*"; ""))) | unique' \
        "$BATS_TEST_TMPDIR/statements"
    assert_output '[["OPEN","ALTER","CLOSE"]]'

    mapfile -t ports < <(for node in "${CHAIN_NODES[@]}"; do sql_port "$node"; done)
    chain_end
    run "$BATS_TEST_DIRNAME/../witness/dissect" "$CHAIN_PCAP" "${ports[@]}"
    assert_success
    refute_line --partial wrong
    assert_line --regexp '^messages of type 1: [0-9]+'
    assert_line --regexp '^messages of type 16: [0-9]+'
    refute_line --partial 'type 3:'
}
