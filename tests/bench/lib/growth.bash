# SPDX-License-Identifier: Apache-2.0
# bash: whether latencies grow with what escrowd holds.

# A challenge names so many versions at most: with fewer of them there is less to say and to sign.
VERSIONS_NAMED=8
# Every agent of a large fleet; other benches take the first 40 of it.
CROWD=$(choose 2000 500 40)

# release_over_bare ROUNDS: the median of how much longer a release takes than its TPM commands
# alone: the machine may be busier later.
release_over_bare() {
    local i alone whole values=()
    for ((i = 0; i < $1; i++)); do
        alone=$(bare "$CHAIN/tpm/sock" 10 | jq .p50_us) && whole=$(releases 10 | jq .p50_us) || return
        values+=("$(calculate "$whole / $alone")")
    done
    printf '%s\n' "${values[@]}" | sort -g | sed -n "$((($1 + 1) / 2))p"
}

bench_growth_secrets() {
    local count before after
    count=$(choose 10000 500 3)
    begin_releases && acts deposit admin "$VERSIONS_NAMED" >/dev/null &&
        before=$(release_over_bare "$ROUNDS") && acts deposit admin "$count" >/dev/null &&
        after=$(release_over_bare "$ROUNDS") || return
    result growth_secrets ratio '<= 1.1' \
        "a release, over the bare TPM then, with $count versions stored, against $VERSIONS_NAMED" \
        "$(calculate "$after / $before")"
}

# with_crowd COUNT: how much longer a release takes than its TPM commands alone while so many agents
# wait for orders.
with_crowd() {
    LOAD_NAMES="crowd*$1" begin_load wait "$CHAIN_PORT" '/v1/orders?wait=60' 1 "$1" || return
    release_over_bare 1
    end_load
}

# enroll_crowd: the authority takes the crowd into the roster.
enroll_crowd() {
    make_crowd "$CROWD" || return
    ctl_offline roster add-key --key "$CHAIN/keys/authority" --roster "$CHAIN/docs/roster" \
        "$CHAIN"/crowd/*.enroll >/dev/null && ctl publish "$CHAIN/docs/roster" >/dev/null
}

bench_growth_agents() {
    local i few many values=()
    begin_releases && enroll_crowd || return
    for ((i = 0; i < ROUNDS; i++)); do
        few=$(with_crowd 10) && many=$(with_crowd "$CROWD") || return
        values+=("$(calculate "$many / $few")")
    done
    result growth_agents ratio '<= 1.1' \
        "a release, over the bare TPM then, while $CROWD agents wait for orders, against 10" "${values[@]}"
}
