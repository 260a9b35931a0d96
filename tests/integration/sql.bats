#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The SQL layer through the real driver: what reaches the server, what never does, and what is said.

bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file
load sql
load passwords

setup_file() {
    {
        make_ca ca
        make_ca foreign
        make_certificate good sql1.test.invalid 30
        make_certificate unknown sql1.test.invalid 30 foreign
        make_certificate other sql2.test.invalid 30
        make_certificate expired sql1.test.invalid -1
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=sql1.test.invalid \
            -addext subjectAltName=DNS:sql1.test.invalid \
            -keyout "$BATS_FILE_TMPDIR/own.key" -out "$BATS_FILE_TMPDIR/own.pem"
    } 2>"$BATS_FILE_TMPDIR/openssl.err"
}

teardown() {
    [ -z "${PLANTED:-}" ] || rm -rf "$PLANTED"
    [ -z "${PEER_PID:-}" ] || kill "$PEER_PID"
    sqlsim_stop
}

# elapsed COMMAND...: its milliseconds in $ms, its output as of run
elapsed() {
    local start
    start=$(date +%s%3N)
    run "$@"
    ms=$(($(date +%s%3N) - start))
}

@test "connects to an address and checks the certificate against tls_name" {
    simulate good
    run client -- batch "$QUORUM"
    assert_success
    assert_line --index 0 $'row\t1'
    assert_line --index 1 ok
    run statements '[.packet, .tls, .login]'
    assert_output '["SQLBatch",true,"agent"]'
}

@test "an address may be a name with several addresses" {
    simulate good
    run client address=localhost -- batch "$QUORUM"
    assert_success
}

@test "a self-signed certificate that was installed is its own CA" {
    simulate own
    run client ca="$BATS_FILE_TMPDIR/own.pem" -- batch "$QUORUM" diagnose
    assert_success
    assert_line --partial 'ok: SQL1'
}

@test "the RSA certificate that escrow-certs makes for an instance is taken" {
    local certs=$BATS_TEST_DIRNAME/../../certs/escrow-certs
    "$certs" init-ca "$BATS_TEST_TMPDIR/sqlca"
    "$certs" sql-server --dns sql1.test.invalid "$BATS_TEST_TMPDIR/sqlca"
    cp "$BATS_TEST_TMPDIR/sqlca/certs/sql1.test.invalid.pem" "$BATS_FILE_TMPDIR/rsa.pem"
    cp "$BATS_TEST_TMPDIR/sqlca/certs/sql1.test.invalid.key" "$BATS_FILE_TMPDIR/rsa.key"
    simulate rsa
    run client ca="$BATS_TEST_TMPDIR/sqlca/ca.pem" -- batch "$QUORUM" diagnose
    assert_success
    assert_line --partial 'ok: SQL1'
}

@test "the server's error numbers and texts come back" {
    simulate good '.switches.signbycert_failure = "15581"'
    sqlsim_ctl dmk drop-service-key
    run client -- batch "USE [SSISDB]" \
        batch "SELECT DATALENGTH(SIGNBYCERT(CERT_ID(N'escrowd_probe'), N'escrowd')) AS signature_bytes"
    assert_failure
    assert_line --index 0 ok
    assert_line --index 1 --regexp '^sql 15581 \[[0-9A-Z]{5}\] Please create a master key in the database or open'
}

@test "a refused login says so, and why" {
    simulate good
    printf 'wrong\n' >"$BATS_TEST_TMPDIR/password"
    run client -- batch "$QUORUM"
    assert_failure
    assert_output --regexp "^denied 18456 \[[0-9A-Z]{5}\] Login failed for user 'agent'\.$"
}

@test "master key passwords arrive unaltered, each as one SQLBatch over TLS" {
    local count=0 file
    simulate good '.database.master_key_passwords = ["none of these"]'
    passwords
    for file in "$BATS_TEST_TMPDIR"/pw.*; do
        sqlsim_ctl dmk add-password - < <(cat "$file" && echo)
        run client -- batch "USE [SSISDB]" open "$file" batch "CLOSE MASTER KEY"
        assert_success
        count=$((count + 1))
    done
    [ "$count" -eq 16 ]
    run statements 'select(.statement | startswith("OPEN MASTER KEY")) | [.packet, .tls, .error]'
    assert_equal "$(sort -u <<<"$output")" '["SQLBatch",true,0]'
    assert_equal "${#lines[@]}" 16
}

@test "login passwords arrive unaltered" {
    local file
    passwords
    for file in "$BATS_TEST_TMPDIR"/pw.*; do
        jq -Rs . <"$file"
    done | jq -s 'to_entries | map({name: "login\(.key)", password: .value})' \
        >"$BATS_TEST_TMPDIR/logins"
    simulate good ".logins += $(cat "$BATS_TEST_TMPDIR/logins")"
    for i in {0..15}; do
        jq -j ".[$i].password" "$BATS_TEST_TMPDIR/logins" >"$BATS_TEST_TMPDIR/password"
        run client login="login$i" -- batch "SET CONTEXT_INFO 0x00"
        assert_success
    done
}

@test "a wrong master key password gives 15313 and no text that could quote it" {
    simulate good
    printf wrong >"$BATS_TEST_TMPDIR/pw"
    run client -- batch "USE [SSISDB]" open "$BATS_TEST_TMPDIR/pw"
    assert_failure
    assert_line --index 1 --regexp '^sql 15313 \[[0-9A-Z]{5}\] $'
}

@test "a server that switches encryption off after the login never gets a batch" {
    printf "S3cret 'pass' ä" >"$BATS_TEST_TMPDIR/pw"
    simulate good '.instances[0].encryption = "off"'
    run client -- open "$BATS_TEST_TMPDIR/pw" batch "$QUORUM" diagnose
    assert_failure
    assert_line --partial 'clear text, which was held back'
    assert_line --partial 'encryption_off: SQL1'
    run statements
    assert_output ''
    run sqlsim_ctl state
    assert_equal "$(jq '.instances.SQL1.clear_bytes' <<<"$output")" 0
}

@test "encryption switched off while connected: the next login is safe, the old session stays in TLS" {
    simulate good
    coproc CLIENT { client -- batch "$QUORUM" wait batch "$QUORUM"; }
    read -r -t 20 -u "${CLIENT[0]}" reply
    read -r -t 20 -u "${CLIENT[0]}" reply
    assert_equal "$reply" ok
    sqlsim_ctl set SQL1.encryption off
    echo >&"${CLIENT[1]}"
    wait "$CLIENT_PID"
    run statements .tls
    assert_output $'true\ntrue'
    run client -- batch "$QUORUM"
    assert_failure
}

@test "a server without TLS gets no login" {
    simulate good '.instances[0].encryption = "not_sup"'
    run client -- batch "$QUORUM" diagnose
    assert_failure
    assert_line --partial 'encryption_off: SQL1'
    run sqlsim_ctl state
    assert_equal "$(jq '.instances.SQL1.clear_bytes' <<<"$output")" 0
    assert_equal "$(statements)" ''
}

# certificate_is_refused CERTIFICATE CODE [JQ-FILTER]: no login, no batch, and the reason
certificate_is_refused() {
    simulate "$1" "${3:-.}"
    run client -- batch "$QUORUM" diagnose
    assert_failure
    assert_line --partial 'unavailable 0 [08001]'
    assert_line --partial "$2: SQL1"
    assert_equal "$(statements)" ''
    run sqlsim_ctl wait login SQL1 agent --timeout 1
    assert_failure
}

@test "SQL Server's self-made certificate is refused and recognised" {
    certificate_is_refused fallback fallback_certificate
}

@test "a certificate of another CA is refused" {
    certificate_is_refused unknown unknown_ca
}

@test "a certificate with another name is refused, and its name said" {
    certificate_is_refused other wrong_name
    run client -- diagnose
    assert_output --partial 'it names sql2.test.invalid'
}

@test "an expired certificate is refused" {
    certificate_is_refused expired expired
}

@test "TLS 1.1 is too old: no application data leaves" {
    simulate good '.instances[0].tls_max = "1.1"'
    run client -- batch "$QUORUM" diagnose
    assert_failure
    assert_line --partial 'tls_too_old: SQL1'
    assert_equal "$(statements)" ''
    run sqlsim_ctl wait login SQL1 agent --timeout 1
    assert_failure
}

@test "nothing listens: refused, at once, with a name of several addresses too" {
    simulate good
    sqlsim_ctl kill SQL1
    for address in 127.0.0.1 localhost; do
        elapsed client address=$address timeout=10 -- batch "$QUORUM" diagnose
        assert_failure
        assert_line --partial 'unavailable 0 []'
        assert_line --partial 'refused: SQL1'
        [ "$ms" -lt 9000 ]
    done
}

@test "a name without address is unreachable" {
    simulate good
    run client address=sql1.test.invalid -- diagnose
    assert_output --regexp '^unreachable: SQL1 .*\(the name has no address\)$'
}

@test "something else on the port is not SQL Server" {
    simulate good
    mkfifo "$BATS_TEST_TMPDIR/port"
    python3 "$BATS_TEST_DIRNAME/sql_peer.py" http >"$BATS_TEST_TMPDIR/port" 3>&- &
    PEER_PID=$!
    read -r port <"$BATS_TEST_TMPDIR/port"
    run client port="$port" -- batch "$QUORUM" diagnose
    assert_failure
    assert_line --partial 'not_sql_server: SQL1'
}

@test "a hung server: login, question and diagnosis end within their time-outs" {
    simulate good
    coproc CLIENT { client timeout=1 -- batch "$QUORUM" wait batch "$QUORUM"; }
    read -r -t 20 -u "${CLIENT[0]}" reply
    read -r -t 20 -u "${CLIENT[0]}" reply
    sqlsim_ctl hang SQL1
    start=$(date +%s%3N)
    echo >&"${CLIENT[1]}"
    read -r -t 20 -u "${CLIENT[0]}" reply
    [ $(($(date +%s%3N) - start)) -lt 15000 ]
    [[ $reply == "timeout 0 [HYT00]"* ]]
    elapsed client timeout=1 -- batch "$QUORUM" diagnose
    assert_line --partial 'timeout 0 [HYT00]'
    assert_line --regexp '^unreachable: SQL1 .*nothing comes'
    [ "$ms" -lt 15000 ]
    sqlsim_ctl resume SQL1
}

@test "a peer that drips bytes does not hold the diagnosis over its deadline" {
    simulate good
    mkfifo "$BATS_TEST_TMPDIR/port"
    python3 "$BATS_TEST_DIRNAME/sql_peer.py" drip >"$BATS_TEST_TMPDIR/port" 3>&- &
    PEER_PID=$!
    read -r port <"$BATS_TEST_TMPDIR/port"
    elapsed client port="$port" timeout=1 -- diagnose
    assert_output --partial 'unreachable: SQL1'
    [ "$ms" -ge 900 ]
    [ "$ms" -lt 15000 ]
}

# Everything that would make driver, driver manager or TLS library write, in the places they look.
# Not below $BATS_TEST_TMPDIR: unixODBC garbles the name of a trace file of 60 bytes or more.
plant() {
    PLANTED=$(mktemp -d /tmp/planted.XXXXXX)
    mkdir "$PLANTED/out"
    printf '[ODBC]\nTrace = Yes\nTraceFile = %s/out/trace\n[FreeTDS]\nDriver = %s\n' \
        "$PLANTED" "$(find /usr/lib -name libtdsodbc.so | head -n 1)" >"$PLANTED/odbcinst.ini"
    cp "$PLANTED/odbcinst.ini" "$PLANTED/.odbcinst.ini"
    printf '[global]\ndump file = %s/out/conf\n[escrowd]\nhost = 127.0.0.1\nport = 1\n' \
        "$PLANTED" >"$PLANTED/freetds.conf"
    cp "$PLANTED/freetds.conf" "$PLANTED/.freetds.conf"
    printf '[escrowd]\nDriver = FreeTDS\nServer = 127.0.0.1\nPort = 1\n' >"$PLANTED/odbc.ini"
    cp "$PLANTED/odbc.ini" "$PLANTED/.odbc.ini"
    PLANTED_ENVIRONMENT=(HOME="$PLANTED" ODBCSYSINI="$PLANTED" ODBCINSTINI=odbcinst.ini
        ODBCINI="$PLANTED/odbc.ini" FREETDS="$PLANTED" FREETDSCONF="$PLANTED/freetds.conf"
        TDSDUMP="$PLANTED/out/dump" TDSDUMPCONFIG="$PLANTED/out/dumpconfig" TDSHOST=127.0.0.2
        TDSPORT=1 TDSVER=4.2 TDSQUERY=other SSLKEYLOGFILE="$PLANTED/out/keys"
        GNUTLS_DEBUG_LEVEL=9 KRB5_TRACE="$PLANTED/out/krb5")
}

@test "planted traces and dumps stay empty, and planted settings have no effect" {
    simulate good
    plant
    printf "S3cret 'pass' ä" >"$BATS_TEST_TMPDIR/pw"
    elapsed env "${PLANTED_ENVIRONMENT[@]}" "$BUILD/tests/integration/sql_client" \
        port="$(sqlsim_port SQL1)" tls_name=sql1.test.invalid ca="$BATS_FILE_TMPDIR/ca.pem" \
        login=agent password="$BATS_TEST_TMPDIR/password" -- \
        batch "USE [SSISDB]" open "$BATS_TEST_TMPDIR/pw"
    assert_success
    assert_equal "$(ls -A "$PLANTED/out")" ''
    run grep -rlsE 'S3cret|pw-agent' "$PLANTED" /tmp/tdsdump.log /tmp/freetds.log /tmp/sql.log
    assert_output ''
}

@test "the planted files do catch a client without our environment" {
    simulate good
    plant
    run env "${PLANTED_ENVIRONMENT[@]}" env -u TDSHOST -u TDSPORT -u TDSVER \
        python3 "$BATS_TEST_DIRNAME/sql_plain.py" "$(sqlsim_port SQL1)" agent pw-agent \
        "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'S3cret'"
    assert_file_contains "$PLANTED/out/trace" S3cret
    assert_file_contains "$PLANTED/out/dump" S3cret
}

@test "password files are refused when others can read them, or when they hold no password" {
    simulate good
    local file=$BATS_TEST_TMPDIR/password
    for mode in 604 620 602; do
        chmod $mode "$file"
        run client -- batch "$QUORUM"
        assert_failure
        assert_line --partial 'sql: password file '
    done
    chmod 640 "$file"
    run client -- batch "$QUORUM"
    assert_success
    chmod 600 "$file"
    for content in '' $'\nsecond' $'\xff' "$(printf 'x%.0s' {1..129})" "$(printf 'x%.0s' {1..9000})"; do
        printf %s "$content" >"$file"
        run client -- batch "$QUORUM"
        assert_failure
        assert_line --partial 'sql: password file '
        refute_output --partial xxxx
    done
    run client password="$BATS_TEST_TMPDIR" -- batch "$QUORUM"
    assert_line --partial 'sql: password file '
    assert_equal "$(statements '.login' | wc -l)" 1
}

@test "instances that the driver's configuration cannot hold are refused" {
    simulate good
    for option in 'ca=/tmp/a;b.pem' 'ca=/tmp/a#b.pem' "ca=/$(printf 'x%.0s' {1..300})" ca= tls_name= \
        'tls_name=sql1 ' $'tls_name=sql1\nencryption=off' 'login=DOMAIN\agent' password= port=0 \
        timeout=0 timeout=31 login=; do
        run client "$option" -- batch "$QUORUM"
        assert_equal "$status" 3
    done
}
