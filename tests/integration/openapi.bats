#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a real escrowd answers, to real clients and to curl, is what escrowd/openapi.yaml says.

bats_require_minimum_version 1.5.0

setup_file() {
    export TOOLS=$BATS_TEST_DIRNAME/../openapi
    export DOCUMENT=$BATS_TEST_DIRNAME/../../escrowd/openapi.yaml
}

setup() {
    load lib/chain.bash
    chain_folder "$BATS_TEST_TMPDIR"
    ANSWERS=$CHAIN/run/answers
}

teardown() {
    chain_teardown
}

# begin: a password, and the chain up to an escrowd without a roster; from here on everything that is asked of
# $CHAIN_PORT is written down.
begin() {
    chain_prepare 3
    "$CHAIN_CERTS" agent --id spiffe://test/agent/stranger --out "$CHAIN/pki" "$CHAIN/ca" \
        >>"$CHAIN/log/certificates" 2>&1
    PASSWORD=$(openssl rand -hex 16)
    chain_sqlsim <<<"$PASSWORD"
    chain_member
    chain_escrowd
    spawn recorder "$TOOLS/recorder.py" "$CHAIN/pki" "$CHAIN/ca/ca.pem" escrowd-e1 "$CHAIN_PORT" \
        "$ANSWERS"
    wait_log recorder '"port"'
    CHAIN_PORT=$(jq .port "$CHAIN/log/recorder")
}

# ask WHO METHOD TARGET [CURL-ARGUMENT...]: prints the status of the answer, and its code (or reason)
# if that is not 200.
ask() {
    local who=$1 method=$2 target=$3 status
    shift 3
    status=$(curl --silent --show-error --max-time 20 --cacert "$CHAIN/ca/ca.pem" \
        --cert "$CHAIN/pki/$who.pem" --key "$CHAIN/pki/$who.key" --request "$method" \
        --output "$CHAIN/run/body" --write-out '%{http_code}' "$@" \
        "https://127.0.0.1:$CHAIN_PORT$target")
    [ "$status" = 200 ] ||
        status="$status $(jq -r '.code // .reason // "-"' "$CHAIN/run/body" 2>/dev/null)"
    printf '%s\n' "$status"
}

# post WHO TARGET BODY
post() {
    ask "$1" POST "$2" --header 'Content-Type: application/json' --data-binary "$3"
}

# wait_answer WHO TARGET WANTED: asks until that is the answer, at most 30 s.
wait_answer() {
    local deadline=$((SECONDS + 30)) got=
    until [ "$got" = "$3" ]; do
        [ "$SECONDS" -lt "$deadline" ] || is "$got" "$3"
        read -r -t 0.05 <> <(:) || true
        got=$(ask "$1" GET "$2")
    done
}

# wait_record PATTERN: until a record of the log matches.
wait_record() {
    local deadline=$((SECONDS + 30))
    until grep -q -r -e "$1" "$CHAIN/audit"; do
        [ "$SECONDS" -lt "$deadline" ]
        read -r -t 0.05 <> <(:) || true
    done
}

# role_pid NAME: of a running role of escrowd.
role_pid() {
    pgrep --parent "${CHAIN_PIDS[escrowd]}" --full -- "--role $1"
}

# is ACTUAL WANTED: says both, for the log of a test that fails.
is() {
    echo "$1 (wanted: $2)"
    [ "$1" = "$2" ]
}

# decoded NUMBER: header (0) or payload (1) of the compact JWS on standard input.
decoded() {
    jq -R -c --argjson part "$1" 'split(".")[$part] | gsub("-"; "+") | gsub("_"; "/") | @base64d
        | fromjson'
}

# answered METHOD PATH STATUS FILTER: of the last such answer that was written down.
answered() {
    jq -s -r --arg method "$1" --arg path "$2" --argjson status "$3" \
        "map(select(.method == \$method and .path == \$path and .status == \$status)) | last | $4" \
        "$ANSWERS"
}

# challenge FILTER: the admin's challenge request for the last deposit, altered by a jq filter.
challenge() {
    jq -c "$1" <<<"$ADMIN_CHALLENGE"
}

# act WHO ACT PURPOSE FILTER [HEADER-FILTER]: a signed act, its payload made by a jq filter, with a
# challenge of its own. Prints the body to post.
act() {
    local who=$1 kind=$2 purpose=$3 subject='{group: "ssis", database: "SSISDB"}' header
    [ "$kind" != publish ] || subject='{group: "", database: ""}'
    [ "$(post "$who" /v1/challenge "$(jq -c -n --arg act "$kind" --arg purpose "$purpose" \
        --arg key "$(name_of "$who")" \
        "{v: 1, act: \$act, purpose: \$purpose, key: \$key} + $subject")")" = '200' ]
    jq -r .answer "$CHAIN/run/body" >"$CHAIN/run/challenge"
    [ "$kind" != publish ] || subject='{}'
    jq -c --arg act "$kind" --arg purpose "$purpose" \
        --argjson challenge "$(decoded 1 <"$CHAIN/run/challenge")" \
        "[({typ: \"escrow-act\", act: \$act, aud: \$challenge.member, nonce} | ${5:-.}),
          ({v: 1, purpose: \$purpose} + $subject | $4)]" \
        <<<"$(decoded 0 <"$CHAIN/run/challenge")" |
        "$BUILD/tests/openapi/openapi_sign" "$CHAIN/keys/${who#agent-}.act"
}

# name_of WHO: the Name of an act key, as a signature by it says.
name_of() {
    "$BUILD/tests/openapi/openapi_sign" "$CHAIN/keys/${1#agent-}.act" <<<'[{}, {}]' |
        jq -r .act | decoded 0 | jq -r .kid
}

# point: of a new P-256 key, as JSON.
point() {
    openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -outform der 2>/dev/null |
        tail -c 64 | python3 -c 'import base64, json, sys
x, y = sys.stdin.buffer.read(32), sys.stdin.buffer.read(32)
text = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (x, y)]
print(json.dumps(dict(zip("xy", text))))'
}

# hold: every answer that was written down is in the document, and has the form that it says.
hold() {
    run "$TOOLS/check_answers.py" "$DOCUMENT" <"$ANSWERS"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "every path, and what front and keeper refuse before an act" {
    begin

    # Before the first roster.
    is "$(ask admin GET /v1/health)" "503 -"
    is "$(ask admin GET /v1/roster)" "503 no_roster"
    is "$(ask admin GET /v1/status)" "503 no_roster"
    is "$(ask agent-sql1 GET /v1/orders)" "503 no_roster"
    chain_publish
    is "$(ask admin GET /v1/secrets)" "200"
    is "$(ask agent-sql1 GET /v1/health)" "200"
    chain_deposit <<<"$PASSWORD"

    is "$(ask admin GET /v1/roster)" "200"
    is "$(ask auditor GET /v1/secrets)" "200"
    is "$(ask agent-sql1 GET /v1/status)" "200"
    is "$(ask agent-sql1 GET '/v1/orders?wait=1')" "200"
    is "$(ask admin GET '/v1/audit?from=100000')" "200"
    is "$(ask auditor GET '/v1/explain?target=1')" "200"

    is "$(ask admin GET /v1/nothing)" "404 no_such_path"
    is "$(ask admin GET /)" "404 no_such_path"
    for target in health roster secrets status audit; do
        is "$(post admin "/v1/$target" '{}')" "405 method_not_allowed"
    done
    for target in challenge deposit release receipt publish; do
        is "$(ask admin GET "/v1/$target")" "405 method_not_allowed"
    done
    for target in challenge deposit release receipt orders publish; do
        is "$(post admin "/v1/$target" '')" "400 malformed"
        is "$(post admin "/v1/$target" '{}')" "400 malformed"
        is "$(post admin "/v1/$target" '{"act": "x", "more": 1}')" "400 malformed"
        is "$(ask admin POST "/v1/$target" --data-binary '{}')" "400 malformed"
    done
    is "$(ask admin PUT /v1/orders)" "405 method_not_allowed"
    is "$(ask admin BREW /v1/health)" "400 malformed"
    is "$(ask admin GET /v1/health --header "X: $(printf '%9000s' x)")" "413 too_large"
    is "$(ask admin GET '/v1/health?x=1')" "400 malformed"
    is "$(ask agent-sql1 GET '/v1/orders?wait=61')" "400 malformed"
    is "$(ask auditor GET '/v1/audit?limit=0')" "400 malformed"
    is "$(ask auditor GET '/v1/audit?limit=1001')" "400 malformed"
    is "$(ask auditor GET '/v1/audit?from=0')" "400 malformed"

    is "$(ask agent-sql1 GET /v1/audit)" "403 role_not_allowed"
    is "$(ask agent-sql1 GET '/v1/explain?target=1')" "403 role_not_allowed"
    is "$(ask admin GET '/v1/explain?target=2')" "404 database_unknown"
    is "$(ask admin GET /v1/explain)" "400 malformed"
    is "$(ask admin GET /v1/orders)" "403 role_not_allowed"
    ADMIN_CHALLENGE=$(answered POST /v1/challenge 200 .request)
    is "$(post auditor /v1/challenge "$(challenge .)")" "403 identity_mismatch"
    is "$(post admin /v1/challenge "$(challenge '.key = "000b" + "00" * 32')")" "403 key_unknown"
    is "$(post admin /v1/challenge "$(challenge '.group = "other"')")" "404 group_unknown"
    is "$(post admin /v1/challenge "$(challenge '.database = "other"')")" "404 database_unknown"
    is "$(post admin /v1/challenge "$(challenge '.purpose = "promote"')")" "400 malformed"
    hold
}

@test "acts that are taken, and acts that are refused" {
    local roster deposit release receipt
    begin

    # publish: the roster alone, then the approvals
    roster=$(cat "$CHAIN/docs/roster")
    is "$(post admin /v1/publish "$(act admin publish publish \
        ".roster = \"$roster\" | .approvals = []")")" "200"
    chain_publish
    is "$(post admin /v1/publish "$(act admin publish publish \
        ".roster = \"$roster\" | .approvals = []")")" "409 roster_old"
    is "$(post admin /v1/publish "$(act admin publish publish \
        '.roster = "x.y.z" | .approvals = []')")" "422 roster_invalid"
    is "$(post admin /v1/publish "$(act admin publish publish \
        ".roster = null | .approvals = $(jq -c '.approvals | map(.group = "other")' "$CHAIN/docs/host")")")" \
        "422 approval_invalid"
    is "$(post agent-sql1 /v1/publish "$(act agent-sql1 publish publish \
        ".roster = \"$roster\" | .approvals = []")")" "403 role_not_allowed"

    # release, before there is something to release
    release=".replica = \"sql1\" | .order = null | .recipient = $(point)
        | .objects = [\$challenge.objects[0] // {name: (\"000b\" + \"00\" * 32)} | {name}]"
    is "$(post agent-sql1 /v1/release "$(act agent-sql1 release promote "$release")")" \
        "404 secret_unknown"

    # deposit
    chain_deposit <<<"$PASSWORD"
    deposit=$(answered POST /v1/deposit 200 .request)
    is "$(post admin /v1/deposit "$deposit")" "409 nonce_invalid"
    is "$(post admin /v1/publish "$deposit")" "400 act_mismatch"
    is "$(post auditor /v1/deposit "$deposit")" "403 identity_mismatch"
    is "$(post admin /v1/deposit "$(jq -c '.act |= sub(".{20}$"; "A" * 20)' <<<"$deposit")")" \
        "403 signature_invalid"
    deposit="$(jq -r .act <<<"$deposit" | decoded 1)"
    is "$(post admin /v1/deposit "$(act admin deposit deposit ". + $deposit")")" \
        "409 version_mismatch"
    deposit="$deposit | .version = 2"
    is "$(post admin /v1/deposit "$(act admin deposit deposit \
        ". + $deposit | .blobs |= .[:1]")")" "422 blob_missing"
    is "$(post admin /v1/deposit "$(act admin deposit deposit \
        ". + $deposit | .public |= sub(\"^.{8}\"; \"AAAAAAAA\")")")" "422 template_mismatch"
    is "$(post admin /v1/deposit "$(act admin deposit deposit \
        ". + $deposit | .blobs |= map(.duplicate |= sub(\".{8}\$\"; \"AAAAAAAA\"))")")" \
        "422 blob_invalid"
    is "$(post admin /v1/deposit "$(act admin deposit deposit ". + $deposit" \
        '.aud = "000b" + "00" * 32')")" "403 audience_mismatch"

    # order
    is "$(post admin /v1/orders "$(act admin order drill '.expires_in = 600')")" "200"
    is "$(post admin /v1/orders "$(act admin order rotate '.expires_in = 0')")" "400 malformed"
    is "$(ask agent-sql1 GET /v1/orders)" "200"
    [ "$(jq '.orders | length' "$CHAIN/run/body")" = 1 ]

    # rebaseline
    is "$(post admin /v1/rebaseline "$(act admin rebaseline rebaseline '.replica = "sql1"')")" "200"
    is "$(post admin /v1/rebaseline "$(act admin rebaseline rebaseline '.replica = "sql2"')")" \
        "403 candidate_not_primary"
    is "$(post admin /v1/rebaseline "$(act admin rebaseline rebaseline '.replica = "sql9"')")" \
        "403 replica_unknown"

    # release
    is "$(post agent-sql1 /v1/release "$(act agent-sql1 release promote \
        "$release | .recipient.y = .recipient.x")")" "400 recipient_invalid"
    is "$(post agent-sql1 /v1/release "$(act agent-sql1 release promote \
        "$release | .objects[0].name = \"000b\" + \"00\" * 32")")" "409 object_mismatch"
    is "$(post agent-sql1 /v1/release "$(act agent-sql1 release promote \
        "$release | .replica = \"sql2\"")")" "403 replica_unknown"
    # Nobody has a session there with the nonce; whether that is known before is the prober's affair.
    sim trouble SQL1 slow 1000 --at answer --login escrow_prober --statement dm_exec_sessions \
        --count 1 >/dev/null
    is "$(post agent-sql1 /v1/release "$(act agent-sql1 release drill \
        "$release | .order = \"none\"")")" "403 order_unknown"
    is "$(post agent-sql1 /v1/release "$(act agent-sql1 release promote "$release")")" \
        "403 session_not_found"
    is "$(post agent-sql2 /v1/release "$(act agent-sql2 release promote \
        "$release | .replica = \"sql2\"")")" "403 candidate_not_primary"

    # receipt
    receipt='.replica = "sql1" | .grant = 999 | .outcome = "opened" | .object = null
        | .sql_error = 0 | .detail = ""'
    is "$(post agent-sql1 /v1/receipt "$(act agent-sql1 receipt promote "$receipt")")" \
        "404 grant_unknown"
    is "$(post agent-sql1 /v1/receipt "$(act agent-sql1 receipt promote \
        "$receipt | .replica = \"sql2\"")")" "403 replica_unknown"

    is "$(ask auditor GET '/v1/audit?limit=1000')" "200"
    hold
}

# The limit of each body, as the document has it: one byte more is too large.
@test "bodies up to their limit" {
    begin
    chain_publish
    while read -r target limit; do
        head -c "$limit" /dev/zero | tr '\0' ' ' >"$CHAIN/run/large"
        is "$(post admin "$target" "@$CHAIN/run/large")" "400 malformed"
        # Over the largest of all limits the connection is ended, perhaps while curl sends.
        [ "$limit" -lt 196608 ] || continue
        printf ' ' >>"$CHAIN/run/large"
        is "$(post admin "$target" "@$CHAIN/run/large")" "413 too_large"
    done < <(/usr/bin/python3 -B - "$TOOLS" "$DOCUMENT" <<'TEXT'
import sys
sys.path.insert(0, sys.argv[1])
import openapi_document
for method, path, operation in openapi_document.Document(sys.argv[2]).operations():
    if "requestBody" in operation:
        print(path, operation["requestBody"]["x-max-bytes"])
TEXT
    )
    hold
}

@test "what escrowd cannot do now, and who it does not know" {
    local asking
    begin
    chain_publish
    chain_deposit <<<"$PASSWORD"

    is "$(ask agent-stranger GET /v1/health)" "200"
    is "$(ask agent-stranger GET /v1/status)" "403 identity_unknown"

    chain_swtpm_end KILL
    wait_answer admin /v1/health "503 -"
    is "$(post admin /v1/deposit "$(answered POST /v1/deposit 200 .request)")" "503 tpm_unavailable"
    chain_swtpm
    wait_answer admin /v1/health "200"

    # The keeper goes, and has a question: front, which reads in order, answers for it.
    ask agent-sql1 GET '/v1/orders?wait=60' >"$CHAIN/run/answer" &
    asking=$!
    wait_log recorder '"passed": "/v1/orders\?wait=60"'
    is "$(ask admin GET /v1/health)" "200"
    kill -KILL "$(role_pid keeper)"
    wait "$asking"
    is "$(cat "$CHAIN/run/answer")" "503 role_down"
    wait_answer admin /v1/health "200"
    hold
}

@test "a promotion as the agents live it: challenge, grant, receipt" {
    begin
    chain_publish
    chain_deposit <<<"$PASSWORD"
    chain_agents
    wait_record '"event":"epoch"'
    sim failover SQL2 >/dev/null
    sim wait opens SQL2 --timeout 30000 >/dev/null
    wait_log agent-sql2 'opens by itself'
    wait_record '"event":"settle"'
    is "$(ask admin GET /v1/status)" "200"
    [ "$(jq .unsettled "$CHAIN/run/body")" = 0 ]
    is "$(ask auditor GET /v1/audit)" "200"
    grep -q '"event":"release"' "$CHAIN/run/body"
    hold
    # Both are there, and a fault in any place of them would be seen.
    jq -c 'select(.status == 200 and (.path == "/v1/release" or .path == "/v1/receipt"))' \
        "$ANSWERS" >"$CHAIN/run/promotion"
    [ "$(wc -l <"$CHAIN/run/promotion")" = 2 ]
    "$TOOLS/mutate_answers.py" "$DOCUMENT" <"$CHAIN/run/promotion"
}

@test "a promotion that an admin must approve" {
    CHAIN_CLUSTER_TYPE=none
    begin
    chain_hand_over
    chain_deposit <<<"$PASSWORD"
    chain_agents
    sim failover SQL2 >/dev/null
    wait_record '"decision":"needs_approval"'
    is "$(ask admin GET /v1/status)" "200"
    [ "$(jq -r '.requests[0].reason' "$CHAIN/run/body")" = cluster_type_none ]
    hold
}
