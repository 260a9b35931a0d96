# SPDX-License-Identifier: Apache-2.0
# bash: whether latencies grow with what escrowd holds.

# release_us ROUNDS: the median of medians.
release_us() {
    local i values=()
    for ((i = 0; i < $1; i++)); do
        values+=("$(releases 10 | jq .p50_us)") || return
    done
    printf '%s\n' "${values[@]}" | sort -n | sed -n "$((($1 + 1) / 2))p"
}

bench_growth_secrets() {
    local count before after
    count=$(choose 10000 500 3)
    begin_releases && before=$(release_us "$ROUNDS") && acts deposit admin "$count" >/dev/null &&
        after=$(release_us "$ROUNDS") || return
    result growth_secrets ratio '<= 1.1' "a release with $count versions against one" \
        "$(calculate "$after / $before")"
}
