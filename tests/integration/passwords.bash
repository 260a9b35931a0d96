# SPDX-License-Identifier: Apache-2.0
# bash: passwords that a careless layer would alter.

# Files pw.*, without a newline at the end.
passwords() {
    local key=$'\xf0\x9f\x94\x91' i=0 password
    for password in "it's" "''" "a]b[c]" "what? ?1" "{call x(?)}" "{ '{' }}" "a;b;PWD=x;" '"q"' \
        "-- /* */" '%s%n' "back\\" "  blanks  " "ä€$key" "$(printf 'ä%.0s' {1..128})" \
        "$(printf "$key%.0s" {1..64})" "$(printf "'%.0s" {1..128})"; do
        printf %s "$password" >"$BATS_TEST_TMPDIR/pw.$i"
        i=$((i + 1))
    done
}
