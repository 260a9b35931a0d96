#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The benches still work: each once, with the smallest sizes. Nothing is said about times.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

# What all benches leave, and its unit.
RESULTS='bare_promotion_ms ms
bare_tpm_per_s 1/s
decision_black_hole_adds_ms ms
decision_echo_over_none ratio
decision_of_3_ms ms
detected_seen_to_usable_ms ms
detected_seen_to_usable_over_bare ratio
detected_to_usable_ms ms
detected_to_usable_over_bare ratio
growth_agents ratio
growth_secrets ratio
handshake_cpu_over_nginx ratio
handshake_over_nginx ratio
handshakes_per_s 1/s
handshakes_per_s_nginx 1/s
idle_connection_kib KiB
idle_connection_over_nginx ratio
keepalive_over_nginx ratio
keepalive_per_s 1/s
other_identity_delay_under_flood ratio
other_identity_delay_under_handshakes ratio
promotion_seen_to_usable_ms ms
promotion_to_usable_p50_ms ms
promotion_to_usable_p99_ms ms
pss_agent_mb MiB
pss_idle_mb MiB
pss_prober_mb MiB
release_fresh_p50_ms ms
release_over_bare_slow_tpm ratio
release_over_bare_tpm ratio
releases_per_s 1/s
start_to_ready_ms ms
storm_again_cpu_agents ms
storm_again_cpu_escrowd ms
storm_again_cpu_servers ms
storm_again_cpu_tpm ms
storm_again_last_ms ms
storm_again_over_bare ratio
storm_again_p50_ms ms
storm_again_p99_ms ms
storm_again_wasted decisions
storm_agent_ms ms
storm_cpu_agents ms
storm_cpu_escrowd ms
storm_cpu_servers ms
storm_cpu_tpm ms
storm_last_ms ms
storm_over_bare ratio
storm_p50_ms ms
storm_p99_ms ms
storm_slow_commands commands
storm_slow_cpu_agents ms
storm_slow_cpu_escrowd ms
storm_slow_cpu_servers ms
storm_slow_cpu_tpm ms
storm_slow_first_commands commands
storm_slow_first_cpu_agents ms
storm_slow_first_cpu_escrowd ms
storm_slow_first_cpu_servers ms
storm_slow_first_cpu_tpm ms
storm_slow_first_last_ms ms
storm_slow_first_over_bare ratio
storm_slow_first_p50_ms ms
storm_slow_first_p99_ms ms
storm_slow_first_wasted decisions
storm_slow_last_ms ms
storm_slow_over_bare ratio
storm_slow_p50_ms ms
storm_slow_p99_ms ms
storm_slow_wasted decisions
storm_wasted decisions
tpm_commands_per_release commands'

@test "every bench leaves its results, in the form that others read" {
    local out=$BATS_TEST_TMPDIR/bench.json
    chmod 0755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"
    TMPDIR=$BATS_TEST_TMPDIR run -0 --separate-stderr tests/bench/bench "$BUILD" --smoke --out "$out"
    # A line for each, below that of the titles.
    [ "${#lines[@]}" -eq $(($(wc -l <<<"$RESULTS") + 1)) ]
    run -0 jq -r '.results | to_entries[] | "\(.key) \(.value.unit)"' "$out"
    assert_equal "$(LC_ALL=C sort <<<"$output")" "$RESULTS"
    run -0 jq '.run == "smoke" and .machine.cores > 0 and (.machine.kernel | length) > 0' "$out"
    assert_output true
    # The processor time of so few handshakes may be less than a tick; no decision is best wasted.
    run -0 jq -r '.results | to_entries[] | select((
            (.value.value | type) == "number" and
            (.value.value > 0 or (.value.value == 0 and
                (.key == "handshake_cpu_over_nginx" or .value.unit == "decisions"))) and
            (.value.rounds | length > 0 and all(type == "number")) and
            if .value.aim then (.value.aim | test("^[<>]= [0-9.]+$")) and
                (.value.met | type) == "boolean" else .value.met == null end) | not) | .key' "$out"
    assert_output ''
    run -0 jq .results.tpm_commands_per_release.value "$out"
    assert_output 14
}
