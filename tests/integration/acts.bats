#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Acts that were tampered with, before a real front, keeper and TPM (forge.py makes them): each is
# refused with its reason; one whose signature proves an identity has a record of its own, the others
# are counted; and the daemon goes on as if nothing had been.

bats_require_minimum_version 1.5.0

# One chain for the whole file: a test leaves nothing behind that another one could see.
setup_file() {
    load lib/chain.bash
    chain_folder "$BATS_FILE_TMPDIR"
    openssl rand -hex 16 >"$CHAIN/password"
    chain_serve 2 <"$CHAIN/password"
    chain_deposit <"$CHAIN/password"
    export CHAIN_PORT ESCROWD_PID=${CHAIN_PIDS["escrowd"]}
    ROLES=$(roles)
    export ROLES
}

teardown_file() {
    chain_end
    sanitizer_reports
}

setup() {
    load lib/chain.bash
}

# roles: the processes of escrowd; another list means that one was started again.
roles() {
    pgrep --parent "${ESCROWD_PID:-${CHAIN_PIDS["escrowd"]}}" | paste -s -d ' '
}

# is ACTUAL WANTED
is() {
    echo "$1 (wanted: $2)"
    [ "$1" = "$2" ]
}

forge() {
    "$BATS_TEST_DIRNAME/forge.py" "$CHAIN" "$CHAIN_PORT" "$1"
}

# records: the reasons of the refusals that have a record of their own.
records() {
    grep -h '"event":"refusal"' "$CHAIN"/audit/*.jsonl | sed 's/.*"reason":"\([^"]*\)".*/\1/'
}

# unproved REASON: how many refusals the summaries in the log add up to.
unproved() {
    cat "$CHAIN"/audit/*.jsonl | jq -s --arg reason "$1" \
        'map(select(.event == "unproved" and .reason == $reason).detail.count) | add'
}

# answered TRICK ANSWER: and the next honest act is taken, by the same processes.
answered() {
    is "$(forge "$1")" "$2, then 200"
    is "$(roles)" "$ROLES"
}

# recorded TRICK ANSWER: refused after the signature had proved who it is.
recorded() {
    local before deadline=$((SECONDS + 30))
    before=$(records | wc -l)
    answered "$1" "$2"
    until [ "$(records | wc -l)" -gt "$before" ]; do
        [ "$SECONDS" -lt "$deadline" ]
        read -r -t 0.02 <> <(:) || true
    done
    is "$(records | tail -n 1)" "${2#* }"
}

# counted TRICK ANSWER: refused before; the last test of this file looks for the counts.
counted() {
    local before
    before=$(records | wc -l)
    answered "$1" "$2"
    echo "${2#* }" >>"$CHAIN/counted"
    is "$(records | wc -l)" "$before"
}

@test "act: a right one is taken" { answered right 200; }

@test "act: replayed" { recorded replayed "409 nonce_invalid"; }
@test "act: replayed with the other one of the two signatures that ECDSA has" {
    recorded replayed-with-the-other-s "409 nonce_invalid"
}
@test "act: over the channel of another identity" {
    counted over-another-channel "403 identity_mismatch"
}
@test "act: with the nonce of another identity" {
    recorded nonce-of-another-identity "409 nonce_invalid"
}
@test "act: with the nonce of another act" { recorded nonce-of-another-act "409 nonce_invalid"; }
@test "act: with a nonce that nobody issued" { recorded nonce-foreign "409 nonce_invalid"; }
@test "act: with a nonce that has expired" {
    [ "${ESCROW_TEST_ALL:-0}" = 1 ] || skip "waits for a minute: ESCROW_TEST_ALL=1; test_nonce has it too"
    recorded nonce-expired "409 nonce_invalid"
}
@test "act: with a short nonce" { counted nonce-short "400 malformed"; }
@test "act: without a nonce" { counted nonce-empty "400 malformed"; }
@test "act: for another member" { recorded aud "403 audience_mismatch"; }
@test "act: on the path of another one" { recorded wrong-path "400 act_mismatch"; }
@test "act: by a role that may not" { recorded wrong-role "403 role_not_allowed"; }

@test "JWS: alg none" { counted alg-none "400 malformed"; }
@test "JWS: alg nOnE" { counted alg-none-capitals "400 malformed"; }
@test "JWS: HS256 with the public key as the secret" {
    counted hs256-by-the-public-key "400 malformed"
}
@test "JWS: RS256" { counted rs256 "400 malformed"; }
@test "JWS: ES384" { counted es384 "400 malformed"; }
@test "JWS: crit" { counted crit "400 malformed"; }
@test "JWS: b64 false" { counted b64-false "400 malformed"; }
@test "JWS: jwk" { counted jwk "400 malformed"; }
@test "JWS: jku" { counted jku "400 malformed"; }
@test "JWS: x5c" { counted x5c "400 malformed"; }
@test "JWS: another typ" { counted typ "400 malformed"; }
@test "JWS: a header member twice" { counted duplicate-header-member "400 malformed"; }
@test "JWS: a header of 2,000 bytes" { counted header-long "400 malformed"; }
@test "JWS: an unknown key" { counted unknown-key "403 key_unknown"; }
@test "JWS: signed by another key" { counted signed-by-another-key "403 signature_invalid"; }
@test "JWS: the payload changed after it was signed" {
    counted payload-changed-after-signing "403 signature_invalid"
}
@test "JWS: a signature of zeros" { counted signature-zero "403 signature_invalid"; }
@test "JWS: r is 0" { counted r-zero "403 signature_invalid"; }
@test "JWS: s is 0" { counted s-zero "403 signature_invalid"; }
@test "JWS: r is the order of the group" { counted r-order "403 signature_invalid"; }
@test "JWS: s is the order of the group" { counted s-order "403 signature_invalid"; }
@test "JWS: a signature of ones" { counted signature-ones "403 signature_invalid"; }
@test "JWS: a signature of 63 bytes" { counted signature-short "400 malformed"; }
@test "JWS: a signature of 65 bytes" { counted signature-long "400 malformed"; }
@test "JWS: a signature in DER" { counted signature-der "400 malformed"; }
@test "JWS: no signature" { counted signature-empty "400 malformed"; }
@test "JWS: padding" { counted padding "400 malformed"; }
@test "JWS: spare bits of base64url that are not zero" { counted spare-bits "400 malformed"; }
@test "JWS: bytes behind it" { counted trailing-bytes "400 malformed"; }
@test "JWS: a line feed behind it" { counted trailing-newline "400 malformed"; }
@test "JWS: a space before it" { counted leading-space "400 malformed"; }
@test "JWS: a space in it" { counted inner-space "400 malformed"; }
@test "JWS: a NUL behind it" { counted nul "400 malformed"; }
@test "JWS: two parts" { counted two-parts "400 malformed"; }
@test "JWS: four parts" { counted four-parts "400 malformed"; }
@test "JWS: a detached payload" { counted detached "403 signature_invalid"; }
@test "JWS: flattened JSON serialization" { counted json-flattened "400 malformed"; }
@test "JWS: general JSON serialization" { counted json-general "400 malformed"; }
@test "JWS: an unprotected header beside it" { counted unprotected-header "400 malformed"; }
@test "JWS: longer than a body may be" { counted very-long "413 too_large"; }
# TPMs and HSMs do not choose the lower s. What makes both signatures of an act one is its nonce.
@test "JWS: s above and below the half of the order are both right" {
    answered high-s 200
    answered low-s 200
}

@test "JSON: a number of 400 digits" { counted number-huge "400 malformed"; }
@test "JSON: a number over 64 bits" { counted number-over-64-bits "400 malformed"; }
@test "JSON: a negative number" { counted number-negative "400 malformed"; }
@test "JSON: a number with an exponent" { counted number-exponent "400 malformed"; }
@test "JSON: an infinite number" { counted number-infinite "400 malformed"; }
@test "JSON: 4,000 levels in the payload" { counted deep "400 malformed"; }
@test "JSON: 4,000 levels in the body" { counted body-deep "400 malformed"; }
@test "JSON: a member twice in the payload" { counted duplicate-member "400 malformed"; }
@test "JSON: a member twice in the body" { counted body-duplicate-act "400 malformed"; }
@test "JSON: a member that is not known" { counted unknown-member "400 malformed"; }
@test "JSON: invalid UTF-8 in the payload" { counted invalid-utf-8 "400 malformed"; }
@test "JSON: invalid UTF-8 in the body" { counted body-invalid-utf-8 "400 malformed"; }
@test "JSON: overlong UTF-8" { counted overlong-utf-8 "400 malformed"; }
@test "JSON: a lone surrogate" { counted lone-surrogate "400 malformed"; }
@test "JSON: a NUL in a text" { counted nul-in-string "400 malformed"; }
@test "JSON: a text of 10,000 bytes" { counted long-string "400 malformed"; }
@test "JSON: another object behind it" { counted trailing-json "400 malformed"; }
@test "JSON: a byte order mark" { counted byte-order-mark "400 malformed"; }

@test "release: a right one gets as far as the proof" {
    answered right-release "403 session_not_found"
}
@test "release: another recipient than the TPM's signatures name" {
    recorded recipient-changed "403 signature_invalid"
}
@test "release: a recipient that is not on the curve" {
    recorded recipient-not-on-the-curve "400 recipient_invalid"
}
@test "release: the point zero as recipient" { recorded recipient-zero "400 recipient_invalid"; }
@test "release: another object than the TPM's signature names" {
    recorded object-changed "403 signature_invalid"
}
@test "release: an object that is not of this secret" {
    recorded object-unknown "409 object_mismatch"
}
@test "release: an object twice" { counted object-twice "400 malformed"; }
@test "release: no object" { counted objects-none "400 malformed"; }
@test "release: for the replica of another agent" { recorded replica-of-another "403 replica_unknown"; }

@test "what was not recorded one by one is in the log as counts, by identity and reason" {
    local reason
    counted alg-none "400 malformed"
    kill "$ESCROWD_PID"
    timeout 30 tail --pid="$ESCROWD_PID" -s 0.05 -f /dev/null
    sort -u "$CHAIN/counted" | while read -r reason; do
        is "$reason $(unproved "$reason")" "$reason $(grep -cx "$reason" "$CHAIN/counted")"
    done
}
