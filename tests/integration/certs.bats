#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrow-certs: what is in its certificates, who may read its keys, and that nothing is overwritten.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file

ID=spiffe://corp.example/sql1/agent

escrow_certs() {
    "$BATS_TEST_DIRNAME/../../certs/escrow-certs" "$@"
}

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    "$BATS_TEST_DIRNAME/../../certs/escrow-certs" init-ca ca
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    cp -R "$BATS_FILE_TMPDIR/ca" ca
}

# extension FILE NAME: as text, on one line, without blanks at its ends.
extension() {
    openssl x509 -in "$1" -noout -ext "$2" | tail -n +2 | xargs
}

@test "every kind chains to the CA, with the usage of its side and one identity" {
    escrow_certs server --id spiffe://corp.example/escrowd/e1 --dns e1.corp.example --ip 127.0.0.1 ca
    escrow_certs agent --id "$ID" ca
    escrow_certs admin --id spiffe://corp.example/alice ca
    escrow_certs auditor --id spiffe://corp.example/audra ca

    run -0 openssl verify -CAfile ca/ca.pem -purpose sslserver -x509_strict ca/certs/escrowd-e1.pem
    for name in sql1-agent alice audra; do
        run -0 openssl verify -CAfile ca/ca.pem -purpose sslclient -x509_strict "ca/certs/$name.pem"
        run ! openssl verify -CAfile ca/ca.pem -purpose sslserver "ca/certs/$name.pem"
        assert_equal "$(extension "ca/certs/$name.pem" extendedKeyUsage)" "TLS Web Client Authentication"
    done
    assert_equal "$(extension ca/certs/escrowd-e1.pem extendedKeyUsage)" "TLS Web Server Authentication"
    assert_equal "$(extension ca/certs/escrowd-e1.pem subjectAltName)" \
        "URI:spiffe://corp.example/escrowd/e1, DNS:e1.corp.example, IP Address:127.0.0.1"
    assert_equal "$(extension ca/certs/sql1-agent.pem subjectAltName)" "URI:$ID"
    assert_equal "$(extension ca/certs/sql1-agent.pem basicConstraints)" "CA:FALSE"
    assert_equal "$(extension ca/certs/sql1-agent.pem keyUsage)" "Digital Signature"
}

@test "an instance of SQL Server: its names, and an RSA key that Windows takes for key exchange" {
    escrow_certs sql-server --dns sql1.corp.example --dns ag.corp.example ca
    run -0 openssl verify -CAfile ca/ca.pem -purpose sslserver -x509_strict \
        ca/certs/sql1.corp.example.pem
    run -0 openssl x509 -in ca/certs/sql1.corp.example.pem -noout -subject -text
    assert_output --regexp 'Public-Key: \(3072 bit\)'
    assert_line --index 0 "subject=CN = sql1.corp.example"
    assert_equal "$(extension ca/certs/sql1.corp.example.pem keyUsage)" \
        "Digital Signature, Key Encipherment"
    assert_equal "$(extension ca/certs/sql1.corp.example.pem subjectAltName)" \
        "DNS:sql1.corp.example, DNS:ag.corp.example"
    assert_equal "$(stat -c %a ca/certs/sql1.corp.example.key)" 600
    # As Windows imports it.
    run -0 openssl pkcs12 -export -in ca/certs/sql1.corp.example.pem \
        -inkey ca/certs/sql1.corp.example.key -passout pass:x -out sql1.pfx

    run -1 escrow_certs sql-server --dns sql1.corp.example ca
    assert_output --partial "exists already"
    run -1 escrow_certs sql-server ca
    assert_output --partial "--dns is needed"
    run -1 escrow_certs sql-server --id "$ID" --dns sql2.corp.example ca
    assert_output --partial "--id is not for it"
    assert_not_exist ca/certs/sql2.corp.example.key
}

@test "a leaf is P-256, good for 397 days, and issues nothing" {
    escrow_certs agent --id "$ID" ca
    run -0 openssl x509 -in ca/certs/sql1-agent.pem -noout -text
    assert_output --partial "ASN1 OID: prime256v1"
    run -0 openssl x509 -in ca/certs/sql1-agent.pem -noout -checkend $((396 * 86400))
    run -1 openssl x509 -in ca/certs/sql1-agent.pem -noout -checkend $((397 * 86400 + 60))
    assert_equal "$(extension ca/ca.pem basicConstraints)" "CA:TRUE, pathlen:0"
}

@test "private keys are 0600 from their first instant" {
    umask 000
    mkdir watched
    # Whoever opens a key as soon as it appears must already be refused: observe every creation.
    cat >watch.py <<'PYTHON'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(os.O_CLOEXEC)
for folder in sys.argv[1:]:
    assert libc.inotify_add_watch(fd, folder.encode(), 0x100) >= 0  # IN_CREATE
print("ready", flush=True)
seen = 0
while seen < 3:
    for name in os.read(fd, 65536).split(b"\0"):
        seen += name.endswith(b".key")
print("seen", seen, flush=True)
PYTHON
    mkfifo ready
    python3 watch.py watched ca/certs >ready &
    exec 4<ready
    read -r -t 20 line <&4
    escrow_certs agent --id "$ID" ca
    escrow_certs key act watched/act.key
    escrow_certs key recovery watched/recovery.key
    read -r -t 20 line <&4
    assert_equal "$line" "seen 3"
    exec 4<&-
    for file in ca/ca.key ca/certs/sql1-agent.key watched/act.key watched/recovery.key; do
        assert_equal "$(stat -c %a "$file")" 600
    done
    for file in ca/ca.pem ca/certs/sql1-agent.pem watched/act.key.pub ca/crl.pem; do
        assert_equal "$(stat -c %a "$file")" 644
    done
}

@test "a key in the making is not readable: openssl is held while it writes" {
    umask 000
    mkdir bin
    mkfifo started go
    # An openssl that stops before its first byte.
    cat >bin/openssl <<TEXT
#!/bin/sh
case \$1 in
genpkey)
    echo started >"$PWD/started"
    read -r line <"$PWD/go"
    ;;
esac
exec $(command -v openssl) "\$@"
TEXT
    chmod 755 bin/openssl
    PATH="$PWD/bin:$PATH" escrow_certs key act act.key &
    read -r -t 20 line <started
    assert_equal "$(stat -c '%a %s' act.key)" "600 0"
    echo go >go
    wait $!
    assert_equal "$(stat -c %a act.key)" 600
    run -0 openssl pkey -in act.key -noout
}

@test "nothing is overwritten" {
    escrow_certs key act act.key
    before=$(sha256sum act.key ca/ca.key)
    run -1 escrow_certs key act act.key
    run -1 escrow_certs init-ca ca
    assert_output --partial "exists already"
    escrow_certs agent --id "$ID" ca
    run -1 escrow_certs agent --id "$ID" ca
    assert_output --partial "exists already"
    ln -s elsewhere link.key
    run -1 escrow_certs key act link.key
    assert_not_exist elsewhere
    assert_equal "$(sha256sum act.key ca/ca.key)" "$before"
}

@test "what is not an identity is refused" {
    for id in corp.example/a https://corp.example/a spiffe://corp.example spiffe://Corp/a \
        spiffe://corp.example/ spiffe://corp.example//a spiffe://corp.example/a/../b \
        'spiffe://corp.example/a,URI:spiffe://corp.example/b' "spiffe://corp.example/a b" \
        $'spiffe://corp.example/a\nb' "spiffe://c/$(printf 'a%.0s' {1..250})"; do
        run -1 escrow_certs agent --id "$id" ca
        assert_output --partial "identity"
    done
    run -1 escrow_certs agent --id "$ID" --dns e1.corp.example ca
    run -1 escrow_certs server --id "$ID" --dns 'a,URI:spiffe://corp.example/b' ca
    assert_equal "$(ls ca/certs)" ""
}

@test "a revoked certificate is on the list, and the list is short-lived" {
    escrow_certs agent --id "$ID" ca
    escrow_certs admin --id spiffe://corp.example/alice ca
    run -0 openssl verify -CAfile ca/ca.pem -CRLfile ca/crl.pem -crl_check ca/certs/sql1-agent.pem
    escrow_certs revoke ca ca/certs/sql1-agent.pem
    run -2 openssl verify -CAfile ca/ca.pem -CRLfile ca/crl.pem -crl_check ca/certs/sql1-agent.pem
    assert_output --partial "certificate revoked"
    run -0 openssl verify -CAfile ca/ca.pem -CRLfile ca/crl.pem -crl_check ca/certs/alice.pem
    escrow_certs crl ca
    run -0 openssl crl -in ca/crl.pem -noout -text
    assert_output --partial "$(openssl x509 -in ca/certs/sql1-agent.pem -noout -serial | cut -d= -f2)"
    next=$(openssl crl -in ca/crl.pem -noout -nextupdate | cut -d= -f2)
    assert [ "$(date -d "$next" +%s)" -le "$(($(date +%s) + 7 * 86400 + 60))" ]
}

@test "after a failure there is no half-made key" {
    rm ca/ca.pem
    run ! escrow_certs agent --id "$ID" ca
    assert_equal "$(ls ca/certs)" ""
    assert_not_exist ca/lock
}

@test "two at once do not share the CA's index" {
    mkdir ca/lock
    run -1 escrow_certs agent --id "$ID" ca
    assert_output --partial "another escrow-certs"
    assert_exist ca/lock
}
