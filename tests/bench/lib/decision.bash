# SPDX-License-Identifier: Apache-2.0
# bash: how long a release takes that is decided on what more replicas say, or on what one does not.

# The shipped rival_wait, in ms.
RIVAL_WAIT=300

# decided NODE ROUNDS: ms of a release over a kept connection, a line each round.
decided() {
    local i
    for ((i = 0; i < $2; i++)); do
        acts release "$1" "$(choose 20 10 1)" 1 "$ORDER" | jq '.p50_us / 1000' || return
    done
}

# under_rules RULES: a new escrowd, with these rules, that has seen who is the primary.
under_rules() {
    CHAIN_RULES=$1
    chain_policy && restart_escrowd && chain_watched sql1
}

bench_echo() {
    local i with without rules ratios=()
    end_chain && READABLE='SQL1=all SQL2=all SQL3=all' begin_chain plain && order_drill || return
    rules=$CHAIN_RULES
    # shellcheck disable=SC2153 # setup.bash sets ROUNDS
    for ((i = 0; i < ROUNDS; i++)); do
        under_rules "$rules" && without=$(decided sql1 1) &&
            under_rules "$rules"$'\necho: true' && with=$(decided sql1 1) || return
        ratios+=("$(calculate "$with / $without")")
    done
    result decision_echo_over_none ratio '' \
        'a release of a group of 3 replicas, with an echo that is committed and read, over without' \
        "${ratios[@]}"
    end_chain
}

bench_decision() {
    local count rounds before after
    for count in $(choose '9 5 3' '9 5 3' 3); do
        # shellcheck disable=SC2153 # setup.bash sets ROUNDS
        end_chain && REPLICAS=$count begin_chain plain && order_drill &&
            rounds=$(decided sql1 "$ROUNDS") || return
        # shellcheck disable=SC2086 # a list of numbers
        result "decision_of_${count}_ms" ms '' \
            "a release of a group of $count replicas, all healthy, over a kept connection" $rounds
    done
    sim failover SQL2 >/dev/null && sim wait primary SQL2 >/dev/null &&
        chain_watched sql2 && order_drill && before=$(decided sql2 1) && sim hang SQL1 >/dev/null &&
        after=$(decided sql2 1) || return
    result decision_black_hole_adds_ms ms "<= $((RIVAL_WAIT + 5))" \
        "the old primary takes connections and says nothing; rival_wait is $RIVAL_WAIT ms" \
        "$(calculate "$after - $before")"
    sim resume SQL1 >/dev/null && end_chain && bench_echo
}
