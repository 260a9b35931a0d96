#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The model of failovers, agents, watch and keeper, searched whole by spin. That it is a model of
# this code is shown by test_model.

MODEL="$BATS_TEST_DIRNAME/../model/promotion.pml"

setup() {
    cd "$BATS_TEST_TMPDIR" || return
}

# search DEFINES GCC-OPTIONS [OPTION...]: every state of the model; the report goes to "report".
search() {
    local defines=$1 options=$2
    shift 2
    # shellcheck disable=SC2086 # lists of options
    if ! { spin $defines -a "$MODEL" && gcc $options -DCOLLAPSE -o pan pan.c; } >log 2>&1; then
        cat log
        return 1
    fi
    ./pan -m20000 "$@" >report 2>&1
    sed -n 's/^ *\([0-9]*\) states, stored.*/# \1 states/p' report >&3
}

# The whole was searched: no depth or memory was missing.
assert_holds() {
    if ! grep -q 'errors: 0$' report; then
        cat report
        return 1
    fi
    if grep -Eq 'max search depth|out of memory|reached -DMEMLIM' report; then
        cat report
        return 1
    fi
}

assert_violated() {
    if ! grep -q "$1" report; then
        cat report
        return 1
    fi
}

@test "model: one grantee an epoch, a true primary, no thief, all recorded" {
    local bounds="-DFAILOVERS=2 -DRETRIES=0"

    [ "${ESCROW_TEST_ALL:-}" != 1 ] || bounds="-DFAILOVERS=3 -DRETRIES=1"
    # A long search: worth what compiling it so takes.
    search "$bounds" "-DSAFETY -O2"
    assert_holds
}

@test "model: an epoch is of a replica that was primary since the one before" {
    local bounds="-DFAILOVERS=1"

    [ "${ESCROW_TEST_ALL:-}" != 1 ] || bounds="-DFAILOVERS=2"
    search "-DBECOME -DRETRIES=0 $bounds" -DSAFETY
    assert_holds
}

@test "model: a promotion that stays is served or waits for the admins" {
    search -DLIVE -O1 -a -f
    assert_holds
}

@test "model: one witness is not enough against one liar" {
    search "-DNEEDED=1 -DRETRIES=0" "-DSAFETY -O1"
    assert_violated 'assertion violated.*seen'
}

@test "model: with echo one witness is enough against one liar" {
    local bounds="-DFAILOVERS=1"

    [ "${ESCROW_TEST_ALL:-}" != 1 ] || bounds="-DFAILOVERS=2"
    search "-DNEEDED=1 -DRETRIES=0 -DECHO $bounds" "-DSAFETY -O2"
    assert_holds
}

@test "model: with echo, too, a promotion that stays is served or waits for the admins" {
    search "-DLIVE -DECHO" -O1 -a -f
    assert_holds
}

@test "model: without the admins not every promotion would be served" {
    search "-DLIVE -DALONE -DRETRIES=0" -O1 -a -f
    assert_violated 'acceptance cycle'
}
