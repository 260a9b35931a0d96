# SPDX-License-Identifier: Apache-2.0
# For bats: certificates, a configuration, and escrowd itself. Everything lies in $BATS_TEST_TMPDIR;
# escrowd_stop belongs into teardown.

ESCROWD=${ESCROWD:-$BUILD/tests/role/escrowd_fake}

# The roles run as users of their own and must reach what the test prepares.
open_folders() {
    chmod 0755 "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR"
    if [ -d "$BATS_RUN_TMPDIR/test" ]; then
        chmod 0755 "$BATS_RUN_TMPDIR/test"
    fi
}

# pki_new: CA, server certificate, empty revocation list.
pki_new() {
    PKI=$BATS_TEST_TMPDIR/pki
    mkdir -p "$PKI"
    chmod 0755 "$PKI"
    : >"$PKI/index.txt"
    echo 1000 >"$PKI/crlnumber"
    cat >"$PKI/ca.conf" <<TEXT
[ca]
default_ca = test
[test]
database = $PKI/index.txt
crlnumber = $PKI/crlnumber
default_md = sha256
default_crl_days = 30
unique_subject = no
TEXT
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
        -subj /CN=test-ca -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$PKI/ca.key" -out "$PKI/ca.pem" 2>/dev/null
    pki_certificate server serverAuth "URI:spiffe://test/escrowd/a,IP:127.0.0.1"
    pki_crl
}

# pki_certificate NAME EKU SAN [DAYS]
pki_certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$PKI/$1.key" -out "$PKI/$1.csr" 2>/dev/null
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\n' \
        "$2" "$3" >"$PKI/$1.ext"
    openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.pem" -CAkey "$PKI/ca.key" -CAcreateserial \
        -days "${4:-90}" -extfile "$PKI/$1.ext" -out "$PKI/$1.pem" 2>/dev/null
    chmod 0600 "$PKI/$1.key"
}

# pki_client NAME: a certificate for spiffe://test/NAME.
pki_client() {
    pki_certificate "$1" clientAuth "URI:spiffe://test/$1"
}

pki_crl() {
    openssl ca -config "$PKI/ca.conf" -gencrl -keyfile "$PKI/ca.key" -cert "$PKI/ca.pem" \
        -out "$PKI/crl.new" 2>/dev/null
    mv "$PKI/crl.new" "$PKI/crl.pem"
    chmod 0644 "$PKI/crl.pem"
}

pki_revoke() {
    openssl ca -config "$PKI/ca.conf" -revoke "$PKI/$1.pem" -keyfile "$PKI/ca.key" \
        -cert "$PKI/ca.pem" 2>/dev/null
    pki_crl
}

# config_new [LIMITS-LINE...]: escrowd.yaml for the PKI, and a policy; each argument is a line of
# limits.
config_new() {
    CONFIG=$BATS_TEST_TMPDIR/escrowd.yaml
    mkdir -p "$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/audit" "$BATS_TEST_TMPDIR/rules"
    cat >"$CONFIG" <<TEXT
member: a
listen: {address: 127.0.0.1, port: 0}
tls:
  ca_file: $PKI/ca.pem
  crl_file: $PKI/crl.pem
  certificate_file: $PKI/server.pem
  key_file: $PKI/server.key
tpm: {tcti: "swtpm:path=$BATS_TEST_TMPDIR/swtpm.sock", pcrs: [7]}
state_folder: $BATS_TEST_TMPDIR/state
audit_folder: $BATS_TEST_TMPDIR/audit
policy_file: $BATS_TEST_TMPDIR/rules/policy.yaml
authority_file: $BATS_TEST_TMPDIR/rules/authority.pem
TEXT
    if [ "$(id -u)" -eq 0 ]; then
        echo "users: {keeper: 61001, front: 61002, prober: 61003, alerter: 61004}" >>"$CONFIG"
        chown -R 61001:61001 "$BATS_TEST_TMPDIR/state" "$BATS_TEST_TMPDIR/audit"
    fi
    cat >"$BATS_TEST_TMPDIR/rules/policy.yaml" <<TEXT
groups:
  - name: group
    availability_group: AG
    cluster_type: external
    databases: [SSISDB]
    replicas:
      - {instance: sql1, server_name: SQL1}
      - {instance: sql2, server_name: SQL2}
      - {instance: sql3, server_name: SQL3}
TEXT
    if [ $# -gt 0 ]; then
        echo "limits:" >>"$CONFIG"
        printf '  %s\n' "$@" >>"$CONFIG"
    fi
}

# escrowd_start [ARGUMENT...]: returns when escrowd has said that it is ready; sets PORT.
escrowd_start() {
    local ready
    mkfifo "$BATS_TEST_TMPDIR/ready"
    exec {ready}<>"$BATS_TEST_TMPDIR/ready"
    LOG=$BATS_TEST_TMPDIR/escrowd.log
    "$ESCROWD" --config "$CONFIG" "$@" >"$BATS_TEST_TMPDIR/ready" 2>"$LOG" 3>&- {ready}>&- &
    ESCROWD_PID=$!
    if ! IFS= read -r -t 60 -u "$ready" READY_LINE; then
        cat "$LOG" >&2
        return 1
    fi
    exec {ready}>&-
    PORT=$(jq -r .port <<<"$READY_LINE")
}

# escrowd_stop: SIGTERM; sets STATUS and prints the log, which bats shows if the test fails.
escrowd_stop() {
    [ -n "${ESCROWD_PID:-}" ] || return 0
    kill -TERM "$ESCROWD_PID" 2>/dev/null || true
    STATUS=0
    wait "$ESCROWD_PID" || STATUS=$?
    ESCROWD_PID=
    cat "$LOG"
}

# role_pid NAME: the process id of a running role.
role_pid() {
    local child
    for child in $(<"/proc/$ESCROWD_PID/task/$ESCROWD_PID/children"); do
        if tr '\0' ' ' <"/proc/$child/cmdline" | grep -q -- "--role $1"; then
            echo "$child"
        fi
    done
}

# is_other ROLE PID: the role runs, and not as that process.
is_other() {
    local pid
    pid=$(role_pid "$1")
    [ -n "$pid" ] && [ "$pid" != "$2" ]
}

# wait_for SECONDS COMMAND...: until the command succeeds; fails when the time is over.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        read -r -t 0.02 <> <(:) || true
    done
}

# close_fd NUMBER: of a coproc, whose numbers stand in variables.
close_fd() {
    eval "exec $1>&-"
}

# request NAME PATH [CURL-ARGUMENT...]: with NAME's certificate; the body goes to $BODY, the status
# to $HTTP, the head to $HEAD.
request() {
    local name=$1 path=$2
    shift 2
    BODY_FILE=$BATS_TEST_TMPDIR/body HEAD_FILE=$BATS_TEST_TMPDIR/head
    : >"$BODY_FILE"
    : >"$HEAD_FILE"
    HTTP=$(curl --silent --max-time 20 --cacert "$PKI/ca.pem" --cert "$PKI/$name.pem" \
        --key "$PKI/$name.key" --output "$BODY_FILE" --dump-header "$HEAD_FILE" \
        --write-out '%{http_code}' "$@" "https://127.0.0.1:$PORT$path") || CURL_STATUS=$?
    BODY=$(cat "$BODY_FILE")
    HEAD=$(tr -d '\r' <"$HEAD_FILE")
}

# post NAME PATH JSON [CURL-ARGUMENT...]
post() {
    local name=$1 path=$2 body=$3
    shift 3
    request "$name" "$path" --header 'Content-Type: application/json' --data-binary "$body" "$@"
}

# config_instance NAME: an instance where nobody listens.
config_instance() {
    echo secret >"$BATS_TEST_TMPDIR/password"
    chmod 0600 "$BATS_TEST_TMPDIR/password"
    if [ "$(id -u)" -eq 0 ]; then
        chown 61003 "$BATS_TEST_TMPDIR/password"
    fi
    cat >>"$CONFIG" <<TEXT
instances:
  - name: $1
    address: 127.0.0.1
    port: 1
    tls_name: $1.test
    ca_file: $PKI/ca.pem
    login: prober
    password_file: $BATS_TEST_TMPDIR/password
TEXT
}
