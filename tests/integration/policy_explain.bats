#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrowctl policy explain: what escrowd would decide now, for a person and for a program. That it
# comes true, and uses nothing up: tests/unit/test_keeper_explain.c.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

# A group in service, and nobody who asks for anything.
setup_file() {
    chain_folder "$BATS_FILE_TMPDIR"
    CHAIN_RULES='brake: 1'
    chain_serve 3 <<<"S3cret"
    chain_deposit <<<"S3cret"
    export CHAIN CHAIN_PORT
}

teardown_file() {
    chain_teardown
}

# What a test itself has started.
teardown() {
    end_all
}

explain() {
    ctl policy explain "$@"
}

as_auditor() {
    ctl_offline --config "$CHAIN/auditor.yaml" policy explain "$@"
}

# shows LINE...: asks until what the watch has heard is so.
shows() {
    local i line
    for ((i = 0; i < 100; i++)); do
        run explain
        for line in "$@"; do
            grep -qE "$line" <<<"$output" || continue 2
        done
        return
    done
    echo "$output"
    return 1
}

@test "the primary that was known is no promotion, a secondary is no primary" {
    shows '^escrowd 127.0.0.1 is ready$' \
        '^SSISDB of ssis, by what the replicas said when escrowd asked them [0-9]+[.][0-9] s ago:$' \
        '^ledger: sql1 was the primary of epoch 1; nothing was granted in it;' \
        '^sql1 +answered +PRIMARY +SQL1 ' \
        '^sql1 +promote +needs_approval +restart +[A-Z].*[.]$' \
        '^sql2 +promote +deny +candidate_not_primary +[A-Z].*[.]$' \
        '^sql1 +rotate +deny +order_unknown +' '^sql3 +drill +deny +candidate_not_primary +'
    refute_output --partial not_reached
}

@test "rule by rule for one replica" {
    run -0 explain --replica sql2 --database SSISDB --group ssis --escrowd 127.0.0.1
    assert_line "promote for sql2: deny"
    assert_line --regexp '^candidate +failed +candidate_not_primary$'
    assert_line --regexp '^brake +not_reached +-$'
    assert_line "drill for sql2: deny"
    refute_line --regexp '^sql1 +promote'
}

@test "as JSON, for the auditor" {
    run -0 --separate-stderr as_auditor --output json
    jq -e '.escrowds | length == 1' <<<"$output"
    jq -e '.escrowds[0] | .ready and .reasons == [] and (.targets | length == 1)' <<<"$output"
    jq -e '.escrowds[0].targets[0] | .group == "ssis" and .database == "SSISDB"
        and (.decisions | length == 9)
        and .evidence.facts.elapsed_ms >= 0' <<<"$output"
    run -0 --separate-stderr as_auditor --output json --replica sql3
    jq -e '.escrowds[0].targets[0].decisions | map(.request.replica) == ["sql3", "sql3", "sql3"]' \
        <<<"$output"
}

@test "an agent may not read it" {
    chain_person sql1
    sed -i "s|/sql1.pem|/agent-sql1.pem|; s|/sql1.key|/agent-sql1.key|" "$CHAIN/sql1.yaml"
    run -5 --separate-stderr ctl_offline --config "$CHAIN/sql1.yaml" policy explain
    assert_output ""
    assert_regex "$stderr" 'role_not_allowed'
    run -5 --separate-stderr ctl_offline --config "$CHAIN/sql1.yaml" --output json policy explain
    jq -e '.escrowds == []' <<<"$output"
}

@test "what the policy does not know" {
    for wrong in "--group other" "--database other" "--replica other"; do
        # shellcheck disable=SC2086
        run -6 --separate-stderr explain $wrong
        assert_regex "$stderr" 'no such group, database or replica'
    done
    run -2 explain --escrowd elsewhere
    assert_output --partial "no escrowd of the configuration has the address"
    run -2 explain ssis
}

# lie MEMBER VALUE: what another escrowd with the same answers, but this, is told to be.
lie() {
    local path
    for path in status 'explain?target=1'; do
        curl -s --cert "$CHAIN/pki/auditor.pem" --key "$CHAIN/pki/auditor.key" \
            --cacert "$CHAIN/ca/ca.pem" "https://127.0.0.1:$CHAIN_PORT/v1/$path" \
            >"told.${path%\?*}"
    done
    jq -c "$1" told.explain >lie && mv lie told.explain
    spawn liar "$BATS_TEST_DIRNAME/audit_server.py" "$CHAIN/pki/escrowd-e1.pem" \
        "$CHAIN/pki/escrowd-e1.key" "$CHAIN/ca/ca.pem" "$PWD/told"
    wait_log liar '^port ' "$2"
    CHAIN_PORT=$(tail -n 1 "$CHAIN/log/liar" | cut -d ' ' -f 2) chain_person liar
    sed -i 's/liar[.]\(pem\|key\|act\)/auditor.\1/' "$CHAIN/liar.yaml"
}

@test "its verdicts must follow from its evidence, and both from the policy in force" {
    cd "$BATS_TEST_TMPDIR"
    lie . 1
    run -0 ctl_offline --config "$CHAIN/liar.yaml" policy explain
    end liar || true
    lie '.decisions[3].verdict.outcome = "allow"' 2
    run -4 ctl_offline --config "$CHAIN/liar.yaml" policy explain
    assert_output --partial 'by its own evidence escrowd would decide deny (candidate_not_primary), and it says allow'
    end liar || true
    lie '.rules = "00"' 3
    run -8 ctl_offline --config "$CHAIN/liar.yaml" policy explain
    assert_output --partial "its policy has just changed"
}

@test "a failover that nobody has asked for yet would be served" {
    sim failover SQL2 >/dev/null
    shows '^sql2 +promote +allow +promotion +' '^sql1 +promote +deny +candidate_not_primary +'
    run -0 jq -r 'select(.event == "release")' "$CHAIN"/audit/*.jsonl
    assert_output ""
}

@test "what waits for admins, and what one types" {
    CHAIN_NODES=(sql2 sql3)
    chain_agents
    sim wait opens SQL2 --timeout 30000 >/dev/null
    sim failover SQL3 >/dev/null
    shows '^sql3 +promote +needs_approval +brake +' \
        '^waits for admins: promote for sql3 \(brake\), 0 of 2 approved: escrowctl approve [0-9]+ --escrowd spiffe://test/escrowd/e1$'
}
