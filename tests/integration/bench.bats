#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The benches still work: each once, with the smallest sizes. Nothing is said about times.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

@test "the benches of releases, start, growth and promotions leave their results" {
    local out=$BATS_TEST_TMPDIR/bench.json
    chmod 0755 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"
    TMPDIR=$BATS_TEST_TMPDIR run -0 --separate-stderr tests/bench/bench "$BUILD" --smoke \
        --out "$out" release_over_bare_tpm start growth_secrets growth_agents promotion memory
    run -0 jq -r '.results | map_values(.value > 0) | to_entries[] | "\(.key) \(.value)"' "$out"
    refute_output --partial false
    assert_line 'release_over_bare_tpm true'
    assert_line 'tpm_commands_per_release true'
    assert_line 'start_to_ready_ms true'
    assert_line 'growth_secrets true'
    assert_line 'growth_agents true'
    assert_line 'detected_to_usable_over_bare true'
    assert_line 'pss_agent_mb true'
    run -0 jq .results.tpm_commands_per_release.value "$out"
    assert_output 14
}
