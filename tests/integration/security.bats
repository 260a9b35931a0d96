#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# SECURITY.md claims nothing that has no test: each test it names exists under that name.

setup() {
    bats_load_library bats-support
    bats_load_library bats-assert
    cd "$BATS_TEST_DIRNAME/../.." || exit
}

# claims: a line "FILE<tab>NAME" for each test that SECURITY.md names.
claims() {
    sed -nE 's/^- ([a-z_0-9]+\.(bats|c)): (.*)$/\1\t\3/p' SECURITY.md
}

@test "every test that SECURITY.md names exists" {
    missing=0
    while IFS=$'\t' read -r file name; do
        path=$(find tests -name "$file")
        if [ -z "$path" ] || ! grep -qF -- "$name" "$path"; then
            echo "no such test: $file: $name"
            missing=1
        fi
    done < <(claims)
    [ "$(claims | wc -l)" -ge 30 ]
    [ "$missing" -eq 0 ]
}

@test "every adversary of SECURITY.md names at least one test" {
    run awk '/^### / { if (title && !tests) print title; title = $0; tests = 0 }
        /^## / { if (title && !tests) print title; title = "" }
        /^- [a-z_0-9]+\.(bats|c): / { tests++ }' SECURITY.md
    assert_success
    assert_output ""
}
