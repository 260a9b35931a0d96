#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Failovers while lines between hosts are cut: escrowd and every node in a network namespace of its
# own, in the sandboxes of a release. Every single line and every two lines of {escrowd, three
# nodes}, and of {escrowd, two nodes} under both policies for two replicas; what must come of each
# is worked out in partitions.py. The chains run side by side, since they mostly wait.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load lib/network

# Lines that carry one direction of asking, or refuse.
OTHER_CUTS=(escrowd-new=agents escrowd-new=probers escrowd-old=probers escrowd-old=agents+old-new
    escrowd-old=refused escrowd-old=refused+old-new)
# The old primary that believes: the other one was never primary; it was, and this one no healthy
# secondary of it then; it was.
SILENCE_CUTS=(escrowd-new+old-new escrowd-new escrowd-old+escrowd-new old-new escrowd-new+old-new
    escrowd-old+old-new escrowd-old escrowd-new+old-new escrowd-old=refused)

setup_file() {
    local -a three two
    network_is_possible || return 0
    chmod 0755 "$BATS_RUN_TMPDIR" "$(dirname "$BATS_FILE_TMPDIR")" "$BATS_FILE_TMPDIR"
    mapfile -t three < <(cuts_of 3)
    mapfile -t two < <(cuts_of 2)
    begin three1 3 majority "${three[@]:0:7}"
    begin three2 3 majority "${three[@]:7:7}"
    begin three3 3 majority "${three[@]:14}"
    begin other 3 majority "${OTHER_CUTS[@]}"
    begin majority 2 majority "${two[@]}"
    begin silence 2 candidate+silence "${SILENCE_CUTS[@]}"
}

# One that is still there was not waited for by its test; it ends what it started.
teardown_file() {
    local file pid
    for file in "$BATS_FILE_TMPDIR"/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || true
        timeout 60 tail --pid="$pid" -s 0.05 -f /dev/null
    done
}

setup() {
    network_is_possible || skip "this needs root and network namespaces"
}

# cuts_of NODES
cuts_of() {
    python3 "$BATS_TEST_DIRNAME/partitions.py" --cuts "$1"
}

# begin NAME NODES POLICY CUT...: a chain in the background. What it is asked for is what it must do.
begin() {
    printf '%s\n' "${@:4}" >"$BATS_FILE_TMPDIR/$1.cuts"
    bash "$BATS_TEST_DIRNAME/lib/partition_chain.bash" "$BATS_FILE_TMPDIR" "$@" \
        </dev/null >"$BATS_FILE_TMPDIR/$1.log" 2>&1 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/$1.pid"
}

# came NAME...: these chains have ended well, and all their cuts came to what the rules say.
came() {
    local name
    for name in "$@"; do
        timeout 240 tail --pid="$(cat "$BATS_FILE_TMPDIR/$name.pid")" -s 0.05 -f /dev/null
        rm "$BATS_FILE_TMPDIR/$name.pid"
        grep -v '"wrong": \[\]' "$BATS_FILE_TMPDIR/$name.results" || true
        tail -n 200 "$BATS_FILE_TMPDIR/$name.log"
        jq -r '"# \(.cut): \(.outcome | to_entries | map("\(.key) \(.value)") | join(", "))"' \
            "$BATS_FILE_TMPDIR/$name.results" >&3
        assert_equal "$(jq -r 'select(.wrong == []).cut' "$BATS_FILE_TMPDIR/$name.results")" \
            "$(cat "$BATS_FILE_TMPDIR/$name.cuts")"
        assert_equal "$(tail -n 1 "$BATS_FILE_TMPDIR/$name.log")" 'ended well'
    done
}

@test "three nodes: every line and every two lines cut; nobody is granted who is not the primary" {
    came three1 three2 three3
    assert_equal "$(cat "$BATS_FILE_TMPDIR"/three?.cuts | sort -u | wc -l)" 21
}

@test "three nodes: lines that carry one direction of asking, or refuse" {
    came other
}

@test "two nodes by majority: every line and every two lines cut" {
    came majority
    assert_equal "$(sort -u "$BATS_FILE_TMPDIR/majority.cuts" | wc -l)" 6
}

@test "two nodes by candidate+silence: every line and every two lines cut" {
    came silence
    assert_equal "$(grep -v = "$BATS_FILE_TMPDIR/silence.cuts" | sort -u | wc -l)" 6
}

@test "what was made of hosts and lines is gone" {
    run -0 ip netns list
    refute_output --partial escrow-test-
    run -0 ip -brief link show
    refute_line --regexp '^to-(escrowd|sql)'
}
