#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What went wrong in others' software of this kind, each as a test that would fail if it went wrong
# here. "The CA file is not read again on SIGHUP" (Vault #32116) is in reload.bats.

bats_require_minimum_version 1.5.0

PASSWORD=Correct-Horse-7781-Staple

# One chain for the whole file, with a promotion in its past.
setup_file() {
    load lib/chain.bash
    chain_folder "$BATS_FILE_TMPDIR"
    chain_prepare 2
    echo "$PASSWORD" >"$CHAIN/keys/password"
    chain_sqlsim <"$CHAIN/keys/password"
    chain_member
    chain_escrowd
    chain_publish
    chain_deposit <"$CHAIN/keys/password"
    chain_agents
    sim failover SQL2 >/dev/null
    sim wait opens SQL2 --timeout 30000 >/dev/null
    wait_log agent-sql2 'opens by itself'
    export CHAIN_PORT ESCROWD_PID=${CHAIN_PIDS["escrowd"]}
}

teardown_file() {
    chain_end
    sanitizer_reports
}

setup() {
    load lib/chain.bash
}

# is ACTUAL WANTED
is() {
    echo "$1 (wanted: $2)"
    [ "$1" = "$2" ]
}

# wait_until COMMAND: until it succeeds, at most 30 s.
wait_until() {
    local deadline=$((SECONDS + 30))
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ]
        read -r -t 0.02 <> <(:) || true
    done
}

role_pid() {
    pgrep --parent "$ESCROWD_PID" --full -- "--role $1"
}

forge() {
    "$BATS_TEST_DIRNAME/forge.py" "$CHAIN" "$CHAIN_PORT" "$1"
}

intrude() {
    "$BATS_TEST_DIRNAME/intruder.py" "$CHAIN" "$CHAIN_PORT" "$1"
}

proof() {
    "$BATS_TEST_DIRNAME/proofs.py" "$@"
}

@test "Keylime CVE-2026-6420: nonces have 256 bits, none comes twice, none outlives a restart" {
    is "$(KEEPER_PID=$(role_pid keeper) forge nonces-over-a-restart)" \
        $'400 nonces of {32} bytes\n409 nonce_invalid, then 200'
}

@test "Keylime CVE-2026-6420: a short nonce is refused" {
    is "$(forge nonce-short)" "400 malformed, then 200"
}

@test "Keylime CVE-2026-1709: no path answers without a certificate, or without TLS" {
    is "$(intrude every-path)" "16 operations: no answer, then 200"
}

@test "Vault CVE-2025-6037, OpenBao #173: the admin's common name and serial number are nothing" {
    is "$(intrude namesakes)" "200; no answer; 403 identity_unknown; no answer, then 200"
}

# made FOLDER COMMAND...: runs it with no umask, and looks at how it made the files with secrets there.
made() {
    local folder=$1
    shift
    (
        umask 000
        ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 strace -f -y -s 4096 -e trace=%file,fchmod,umask \
            -o "$BATS_TEST_TMPDIR/trace" "$@" >"$BATS_TEST_TMPDIR/output" 2>&1
    ) || { cat "$BATS_TEST_TMPDIR/output" && false; }
    proof created "$BATS_TEST_TMPDIR/trace" "$folder" | paste -s -d ' '
}

@test "Tang CVE-2023-1672: no private key is readable for an instant" {
    cd "$BATS_TEST_TMPDIR"
    mkdir authority enrolled people keys
    is "$(made authority "$BUILD/client/escrowctl" authority init authority)" \
        "authority.key recovery.key"
    is "$(made enrolled "$BUILD/client/escrowctl" enroll --identity spiffe://test/eve --role admin \
        --group '*' --act-key enrolled/eve.act --out enrolled/eve.enroll)" eve.act
    is "$(made ca "$CHAIN_CERTS" init-ca ca)" ca.key
    is "$(made people "$CHAIN_CERTS" admin --id spiffe://test/eve --out people ca)" eve.key
    is "$(made keys "$CHAIN_CERTS" key act keys/eve.act)" eve.act
}

# init_made: the same of escrowd init, with a TPM of its own in $CHAIN.
init_made() {
    # shellcheck disable=SC2317 # chain_configuration calls it; there is no SQL Server
    sql_port() { echo 1; }
    mkdir "$CHAIN"
    chain_prepare 1
    chain_configuration
    made "$CHAIN/escrowd" "$BUILD/escrowd/escrowd" init --config "$CHAIN/escrowd.yaml"
    chain_swtpm_end
}

@test "Tang CVE-2023-1672: nor are those that escrowd init makes" {
    chmod 0755 "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"
    is "$(CHAIN=$BATS_TEST_TMPDIR/init init_made)" "answer.key storage.auth"
}

@test "CVE-2025-62705: no password and no key is in any log or record" {
    run proof secrets "$CHAIN"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output =~ ^([0-9]+)" secrets, "([0-9]+)" files, "([0-9]+)" bytes"$ ]]
    [ "${BASH_REMATCH[1]}" -ge 20 ] && [ "${BASH_REMATCH[2]}" -ge 6 ]
}

@test "CVE-2025-62705: a secret where none belongs is not said again" {
    local marker=planted-secret-5512 place
    for place in "/v1/$marker" "/v1/orders?wait=$marker" "/v1/audit?$marker=1" "/v1/release" \
        "/v1/challenge" "/v1/deposit"; do
        curl --silent --include --max-time 20 --cacert "$CHAIN/ca/ca.pem" \
            --cert "$CHAIN/pki/admin.pem" --key "$CHAIN/pki/admin.key" \
            --header 'Content-Type: application/json' --header "Authorization: $marker" \
            --request "$([[ $place == *"$marker"* ]] && echo GET || echo POST)" \
            --data-binary "$([[ $place == *"$marker"* ]] ||
                echo "{\"act\": \"$marker.$marker.$marker\", \"$marker\": \"$marker\"}")" \
            "https://127.0.0.1:$CHAIN_PORT$place" >>"$BATS_TEST_TMPDIR/answers"
    done
    [ "$(grep -o 'HTTP/1.1 40[04]' "$BATS_TEST_TMPDIR/answers" | wc -l)" = 6 ]
    run ! grep -r -l "$marker" "$BATS_TEST_TMPDIR/answers" "$CHAIN/log" "$CHAIN/audit"
}

@test "Tang: no reply waits 44 ms for Nagle's algorithm, front has it off" {
    [ "$(id -u)" -eq 0 ] || skip "needs root to look at the sockets of others"
    exec 8<>"/dev/tcp/127.0.0.1/$CHAIN_PORT" 9<>"/dev/tcp/127.0.0.1/$CHAIN_PORT"
    accepted() {
        run proof nodelay "$(role_pid front)"
        [ "${output%% *}" -ge 2 ]
    }
    wait_until accepted
    exec 8>&- 9>&-
    echo "$output"
    [ "$status" -eq 0 ]
}
