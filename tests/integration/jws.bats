#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Our signatures before a witness that we did not write (jose), and the witness's before us.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

escrowctl() {
    "$BUILD/client/escrowctl" "$@"
}

# as_jwk PEM-PRIVATE: prints the private JWK of a P-256 key.
as_jwk() {
    openssl ec -in "$1" -outform DER 2>openssl.log | python3 -c '
import base64, json, sys
der = sys.stdin.buffer.read()
# SEC 1, C.4: version, then OCTET STRING d; at the end the BIT STRING with 04 || x || y.
d, point = der[7:39], der[-64:]
text = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
print(json.dumps({"kty": "EC", "crv": "P-256", "d": text(d), "x": text(point[:32]), "y": text(point[32:])}))'
}

public_part() {
    jq -c 'del(.d)' "$1"
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    escrowctl authority init a
    escrowctl roster new --key a/authority.key --recovery a/recovery.pub --roster roster.jws
    as_jwk a/authority.key >authority.jwk
    public_part authority.jwk >authority.pub.jwk
}

# sign_roster HEADER-FILTER: the payload of roster.jws, signed by jose with a changed header.
sign_roster() {
    local header
    header=$(cut -d. -f1 roster.jws | jose b64 dec -i- | jq -c "$1")
    cut -d. -f2 roster.jws | jose b64 dec -i- >payload.json
    jose jws sig -I payload.json -k authority.jwk -c -o signed.jws -s "{\"protected\":$header}"
}

@test "jose verifies what we sign" {
    # jose takes no newline behind the third part.
    tr -d '\n' <roster.jws >roster.text
    run -0 jose jws ver -i roster.text -k authority.pub.jwk -O-
    assert_equal "$(jq .version <<<"$output")" 1
    escrowctl enroll --identity spiffe://corp.example/alice --role admin --group '*' \
        --act-key act.key --out enroll.jws
    as_jwk act.key >act.jwk
    tr -d '\n' <enroll.jws >enroll.text
    run -0 jose jws ver -i enroll.text -k act.jwk -O-
    assert_equal "$(jq -r .identity <<<"$output")" spiffe://corp.example/alice
    run ! jose jws ver -i enroll.text -k authority.pub.jwk -O-
}

@test "we verify what jose signs" {
    sign_roster .
    run -0 escrowctl roster show --authority a/authority.pub --output json signed.jws
    assert_equal "$(jq .version <<<"$output")" 1
}

@test "a header that says more or something else is refused, however rightly signed" {
    for filter in '.crit = ["exp"] | .exp = 1' '.jku = "https://corp.example"' '.typ = "JWT"' \
        'del(.typ)' 'del(.kid)' '.kid = "authority"' '.cty = "json"'; do
        sign_roster "$filter"
        run ! escrowctl roster show --authority a/authority.pub signed.jws
        refute_output --partial "version"
    done
}

@test "none, HS256 by the public key, and another key are refused" {
    local payload header
    payload=$(cut -d. -f2 roster.jws)
    header=$(cut -d. -f1 roster.jws | jose b64 dec -i- | jq -c '.alg = "none"' | jose b64 enc -I-)
    printf '%s.%s.' "$header" "$payload" >none.jws
    run ! escrowctl roster show --authority a/authority.pub none.jws

    # The old trick: the public key's text as the secret of a MAC.
    jq -n --arg k "$(jose b64 enc -I a/authority.pub)" '{kty: "oct", k: $k}' >mac.jwk
    jose b64 dec -i <(printf '%s' "$payload") >payload.json
    header=$(cut -d. -f1 roster.jws | jose b64 dec -i- | jq -c '.alg = "HS256"')
    jose jws sig -I payload.json -k mac.jwk -c -o mac.jws -s "{\"protected\":$header}"
    run ! escrowctl roster show --authority a/authority.pub mac.jws

    escrowctl authority init b
    as_jwk b/authority.key >authority.jwk
    sign_roster .
    run -10 escrowctl roster show --authority a/authority.pub signed.jws
}
