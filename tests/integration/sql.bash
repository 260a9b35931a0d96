# SPDX-License-Identifier: Apache-2.0
# bash: certificates, a sqlsim and the client of the SQL layer for bats files.

load ../sqlsim/sqlsim

QUORUM="SELECT quorum_state FROM sys.dm_hadr_cluster"

# make_ca FILE
make_ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
        -keyout "$BATS_FILE_TMPDIR/$1.key" -out "$BATS_FILE_TMPDIR/$1.pem"
}

# make_certificate FILE NAME DAYS [CA]: DAYS may be negative
make_certificate() {
    local dir=$BATS_FILE_TMPDIR ca=${4:-ca}
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$dir/$1.key" -out "$dir/$1.csr"
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/$ca.pem" -CAkey "$dir/$ca.key" -CAcreateserial \
        -days "$3" -extfile <(printf 'subjectAltName=DNS:%s' "$2") -out "$dir/$1.pem"
}

# simulate CERTIFICATE [JQ-FILTER]: one instance, or what the filter makes of it
simulate() {
    local certificate="$BATS_FILE_TMPDIR/$1.pem" key="$BATS_FILE_TMPDIR/$1.key"
    if [ "$1" = fallback ]; then
        certificate=fallback key=
    fi
    sqlsim_start < <(jq --arg certificate "$certificate" --arg key "$key" '
        .instances[0] += ({certificate: $certificate, key: $key} | map_values(select(. != "")))
        '" | ${2:-.}" <<'TEXT'
{"database": {"master_key_passwords": ["S3cret 'pass' ä"]},
 "switches": {"log_statements": "verbatim"},
 "instances": [{"name": "SQL1"}, {"name": "SQL2"}],
 "logins": [
   {"name": "agent", "password": "pw-agent", "rights":
     ["VIEW SERVER STATE", "VIEW ANY DEFINITION", "CONTROL", "ssis_admin"]},
   {"name": "prober", "password": "pw-prober", "rights":
     ["VIEW SERVER STATE", "VIEW ANY DEFINITION", "CONNECT", "CONTROL ON CERTIFICATE"]}]}
TEXT
    ) || return
    printf 'pw-agent\n' >"$BATS_TEST_TMPDIR/password"
    chmod 600 "$BATS_TEST_TMPDIR/password"
}

# client [KEY=VALUE...] -- COMMAND...: as agent on SQL1, unless a later KEY=VALUE says otherwise
client() {
    timeout 60 "$BUILD/tests/integration/sql_client" port="$(sqlsim_port SQL1)" \
        tls_name=sql1.test.invalid ca="$BATS_FILE_TMPDIR/ca.pem" login=agent \
        password="$BATS_TEST_TMPDIR/password" "$@" 3>&-
}

# statements [JQ-FILTER]: what SQL1 got after logins
statements() {
    sqlsim_ctl log SQL1 | jq -c ".statements[] | ${1:-.statement}"
}

# rights ROLE VERSION: what a server of that major version does with ROLE.sql, which sql-grants
# printed, in sqlsim's words
rights() {
    local server="VIEW SERVER PERFORMANCE STATE"
    [ "$2" -ge 16 ] || server="VIEW SERVER STATE"
    {
        grep -oE "GRANT $server TO" "$1.sql"
        grep -E '^(GRANT|    ALTER ROLE) ' "$1.sql"
    } | sed -E 's/^ *GRANT (.*) TO( .*)?$/\1/; s/^ *ALTER ROLE \[(.*)\] ADD .*/\1/
                s/ ON DATABASE::.*//; s/ ON CERTIFICATE::.*/ ON CERTIFICATE/'
}

# sid ROLE: of the login in ROLE.sql
sid() {
    grep -m 1 -oE 'SID = 0x[0-9a-f]{32}' "$1.sql" | cut -d ' ' -f 3
}
