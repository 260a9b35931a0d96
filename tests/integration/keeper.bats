#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The real escrowd on a real swtpm, in its sandbox: init, log, store and TPM over restarts.
# shellcheck disable=SC2153 # escrowd_stop sets STATUS

bats_require_minimum_version 1.5.0

setup() {
    load escrowd.bash
    load member.bash
    member_new
}

teardown() {
    escrowd_stop
    swtpm_stop
    umount "$BATS_TEST_TMPDIR/audit" 2>/dev/null || true
}

restart() {
    rm -f "$BATS_TEST_TMPDIR/ready"
    escrowd_start
}

# lacks REASON: the member is not ready for that reason.
lacks() {
    request admin /v1/health
    [ "$HTTP" = 503 ] && jq -e --arg reason "$1" '.reasons | index($reason)' <<<"$BODY"
}

# has REASON: it answers, and that is not among what is missing.
has() {
    request admin /v1/health
    jq -e --arg reason "$1" '.reasons | index($reason) | not' <<<"$BODY"
}

# check_chain: every line names the hash of the line before, and the sequence has no gap.
check_chain() {
    local previous=0000000000000000000000000000000000000000000000000000000000000000 number=1 line
    while IFS= read -r line; do
        [ "$(jq -r .previous <<<"$line")" = "$previous" ]
        [ "$(jq -r .sequence <<<"$line")" = "$number" ]
        previous=$(printf '%s\n' "$line" | sha256sum | cut -d ' ' -f 1)
        number=$((number + 1))
    done < <(cat "$BATS_TEST_TMPDIR"/audit/*.jsonl)
}

@test "init makes a member once, with private files" {
    run init
    [ "$status" -eq 0 ]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/state/answer.key")" = 600 ]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/state/storage.auth")" = 600 ]
    [ "$(stat -c %s "$BATS_TEST_TMPDIR/state/storage.auth")" = 32 ]
    jq -e '.v == 1 and .label == "a" and .ek == "none" and (.counter | length) == 68' \
        "$BATS_TEST_TMPDIR/state/member.json"
    sha256sum "$BATS_TEST_TMPDIR"/state/* >"$BATS_TEST_TMPDIR/before"
    run init
    [ "$status" -eq 7 ]
    sha256sum -c --quiet "$BATS_TEST_TMPDIR/before"
    # The same TPM under another state folder.
    mv "$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/aside"
    run init
    [ "$status" -eq 7 ]
    [ ! -e "$BATS_TEST_TMPDIR/state/member.json" ]
}

@test "what the authority is shown of a member is what init and the TPM's owner see there" {
    local storage folder=$BATS_TEST_TMPDIR/authority
    escrowctl() {
        "$BUILD/client/escrowctl" "$@"
    }
    run init
    [ "$status" -eq 0 ]
    storage=$(sed -n 's/.*the Name of its storage key is \(000b[0-9a-f]*\)$/\1/p' <<<"$output")
    [ -n "$storage" ]
    escrowctl authority init "$folder"
    cd "$folder"
    escrowctl roster new --key authority.key --recovery recovery.pub --roster roster
    run escrowctl roster add-member --key authority.key --roster roster ../state/member.json
    [ "$status" -eq 0 ]
    [[ $output == *"$storage" ]]
    run escrowctl authority approve-host --key authority.key --member ../state/member.json \
        --group ssis --out host
    [ "$status" -eq 0 ]
    TPM2TOOLS_TCTI=swtpm:path=$BATS_TEST_TMPDIR/swtpm.sock tpm2_pcrread -Q -o values sha256:7
    [[ $output == *"  7     $(sha256sum <values | cut -d ' ' -f 1)" ]]
}

@test "without init it says what to do" {
    LOG=$BATS_TEST_TMPDIR/escrowd.log
    "$ESCROWD" --config "$CONFIG" 2>"$LOG" 3>&- &
    ESCROWD_PID=$!
    wait_for 30 grep -q 'escrowd init' "$LOG"
}

@test "it starts, says what is missing, records start and shutdown, and ends within its time" {
    init
    escrowd_start
    lacks no_roster
    has tpm_unavailable
    escrowd_stop
    [ "$STATUS" -eq 0 ]
    restart
    escrowd_stop
    [ "$(cat "$BATS_TEST_TMPDIR"/audit/*.jsonl | jq -r .event | paste -s -d ' ')" = \
        "start shutdown start shutdown" ]
    check_chain
    # Each record has each member, from the first day.
    [ "$(jq -c 'keys' "$BATS_TEST_TMPDIR"/audit/*.jsonl | sort -u | wc -l)" = 1 ]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR"/audit/*.jsonl)" = 600 ]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR"/state/store.sqlite)" = 600 ]
}

@test "the TPM may go and come back" {
    init
    escrowd_start
    has tpm_unavailable
    swtpm_stop
    wait_for 30 lacks tpm_unavailable
    swtpm_start
    wait_for 30 has tpm_unavailable
}

@test "a torn last line is cut and recorded, a deleted store is rebuilt" {
    init
    escrowd_start
    kill -KILL "$(role_pid keeper)"
    escrowd_stop
    printf '{"act":null,"act' >>"$BATS_TEST_TMPDIR/audit/00000000000000000001.jsonl"
    rm "$BATS_TEST_TMPDIR/state/store.sqlite"*
    restart
    escrowd_stop
    cat "$BATS_TEST_TMPDIR"/audit/*.jsonl | jq -r .event | grep -qx log_torn
    check_chain
}

@test "a log with a record less than the store knows is not written and nothing is served" {
    init
    escrowd_start
    escrowd_stop
    sed -i '$d' "$BATS_TEST_TMPDIR/audit/00000000000000000001.jsonl"
    chown --reference="$BATS_TEST_TMPDIR/audit" "$BATS_TEST_TMPDIR/audit/00000000000000000001.jsonl"
    sha256sum "$BATS_TEST_TMPDIR"/audit/* >"$BATS_TEST_TMPDIR/before"
    restart
    lacks log_tampered
    escrowd_stop
    sha256sum -c --quiet "$BATS_TEST_TMPDIR/before"
}

@test "a full disk is said, and gone when it is gone" {
    [ "$(id -u)" -eq 0 ] || skip "needs root to mount a small tmpfs"
    init
    mount -t tmpfs -o size=1m,mode=0755 tmpfs "$BATS_TEST_TMPDIR/audit" || skip "cannot mount"
    chown --reference="$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/audit"
    head -c 1000k /dev/zero >"$BATS_TEST_TMPDIR/audit/filler"
    head -c 60k /dev/zero >>"$BATS_TEST_TMPDIR/audit/filler" || true
    escrowd_start
    lacks log_unavailable
    rm "$BATS_TEST_TMPDIR/audit/filler"
    wait_for 30 has log_unavailable
    escrowd_stop
    [ "$(cat "$BATS_TEST_TMPDIR"/audit/*.jsonl | jq -r .event | grep -cx log_back)" -eq 1 ]
    check_chain
}
