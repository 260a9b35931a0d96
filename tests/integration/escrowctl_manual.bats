#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrowctl(1) against escrowctl: its commands, their options, the keys of the configuration, the
# exit codes.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

setup() {
    CLIENT=$BATS_TEST_DIRNAME/../../client
    PAGE=$CLIENT/escrowctl.1.scd
    cd "$BATS_TEST_TMPDIR" || return
}

escrowctl() {
    "$BUILD/client/escrowctl" "$@" 3>&-
}

# commands: as --help lists them
commands() {
    escrowctl --help | sed -n 's/^  \([a-z].*[a-z]\)  .*/\1/p' | sed 's/   .*//'
}

# options: those that standard input names, sorted
options() {
    grep -oE -- '--[a-z-]+' | sort -u
}

# usage COMMAND: the usage of its --help, up to the empty line
usage() {
    # shellcheck disable=SC2086 # a command may be two words
    escrowctl $1 --help | sed '/^ *$/,$d'
}

@test "every command has a section, and every section is of a command" {
    commands >names
    assert [ "$(wc -l <names)" -ge 18 ]
    # Names are lower case; what follows them begins with an option or in upper case.
    sed -n 's/^## //p' "$PAGE" | grep -oE '^[a-z-]+( [a-z-]+)*' | sed -E 's/ -.*//' | sort >sections
    assert_equal "$(cat sections)" "$(sort names)"
}

@test "every section names the options that the command's help names" {
    commands >names
    while read -r command; do
        grep -E "^## $command( |\$)" "$PAGE" | grep -vE "^## $command [a-z]" | options >described
        assert_equal "$command: $(cat described)" "$command: $(usage "$command" | options)"
    done <names
}

@test "every option is one that the command knows" {
    commands >names
    while read -r command; do
        usage "$command" | options >known || true
        while read -r option; do
            # shellcheck disable=SC2086 # a command may be two words
            run -2 escrowctl $command "$option" </dev/null
            refute_output --partial "does not know"
        done <known
        # shellcheck disable=SC2086 # a command may be two words
        run -2 escrowctl $command --no-such-option </dev/null
        assert_output --partial "$command does not know --no-such-option"
    done <names
}

@test "every key of the configuration is described" {
    grep -oE '^    \{"[a-z_]+"' -h "$CLIENT"/{escrowctl_config,rpc_server}.c | tr -d ' {"' >keys
    assert [ "$(wc -l <keys)" -ge 10 ]
    sed -n '/^# CONFIGURATION/,/^# EXIT/p' "$PAGE" >section
    while read -r key; do
        run -0 grep -F "*$key*" section
    done <keys
}

@test "every reason why admins are asked is described" {
    sed -n '/^    ApprovalReason:/,/^    [A-Z].*Reason:/s/^        - \([a-z_]*\)$/\1/p' \
        "$CLIENT/../escrowd/openapi.yaml" | sort >codes
    assert [ "$(wc -l <codes)" -ge 9 ]
    sed -n '/^# WHY ADMINS/,/^# THE AUDITOR/s/^\*\([a-z_]*\)\*$/\1/p' "$PAGE" | sort >described
    assert_equal "$(cat described)" "$(cat codes)"
}

@test "every exit code is described" {
    sed -n 's/^    \[ESCROW_.*, \([0-9]*\)},$/\1/p' "$CLIENT/../libescrow/err.c" >codes
    assert [ "$(wc -l <codes)" -ge 15 ]
    sed -n '/^# EXIT/,/^# FILES/p' "$PAGE" | sed -nE 's/^\*([0-9]+)\*$/\1/p' >described
    assert_equal "$(cat described)" "$(cat codes)"
}
