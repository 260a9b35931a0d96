# SPDX-License-Identifier: Apache-2.0
# bash: escrow-agent at a modelled SQL Server, with an escrowd that does not answer. For bats; wants
# sqlsim.bash.

# shellcheck source=tests/integration/lib/processes.bash
. "$(dirname "${BASH_SOURCE[0]}")/processes.bash"

# agent_certificates: in setup_file.
agent_certificates() {
    local certs=$BATS_TEST_DIRNAME/../../certs/escrow-certs
    cd "$BATS_FILE_TMPDIR" || return 1
    {
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -subj "/CN=SQL1" -addext "subjectAltName=DNS:sql.test.invalid" \
            -keyout sql.key -out sql.pem
        "$certs" init-ca ca
        "$certs" agent --id spiffe://test/agent/sql --out . ca
        "$certs" key act act.key
        "$certs" key authority authority
    } >certificates.log 2>&1
}

# agent_prepare: in setup.
agent_prepare() {
    chain_folder "$BATS_TEST_TMPDIR"
    printf 'agent-password\n' >"$CHAIN/password"
    chmod 0600 "$CHAIN/password"
    # A port where nothing listens for the time of the test: bound, and not listened on.
    python3 -c '
import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
sys.stdin.read()' < <(exec tail -f /dev/null) >"$CHAIN/port" 3>&- &
    CHAIN_PIDS[port]=$!
    until [ -s "$CHAIN/port" ]; do :; done
}

# simulate [JQ-FILTER]
simulate() {
    sqlsim_start < <(jq "${1:-.}" <<TEXT
{"database": {"master_key_passwords": ["S3cret"]},
 "instances": [
   {"name": "SQL1", "certificate": "$BATS_FILE_TMPDIR/sql.pem", "key": "$BATS_FILE_TMPDIR/sql.key"},
   {"name": "SQL2", "certificate": "$BATS_FILE_TMPDIR/sql.pem", "key": "$BATS_FILE_TMPDIR/sql.key"}],
 "logins": [{"name": "agent", "password": "agent-password", "rights":
   ["VIEW SERVER STATE", "VIEW ANY DEFINITION", "CONTROL", "CONTROL ON CERTIFICATE"]}]}
TEXT
    )
}

# agent_entry NODE GROUP AVAILABILITY-GROUP DATABASE ACT-KEY: one of the configuration's instances.
agent_entry() {
    cat <<TEXT
  - name: $1
    group: $2
    certificate_file: $BATS_FILE_TMPDIR/agent-sql.pem
    key_file: $BATS_FILE_TMPDIR/agent-sql.key
    act_key_file: $5
    address: 127.0.0.1
    port: $(sqlsim_port "$1")
    tls_name: sql.test.invalid
    ca_file: $BATS_FILE_TMPDIR/sql.pem
    login: agent
    password_file: $CHAIN/password
    availability_group: $3
    databases: [$4]
TEXT
}

# agent_start NODE [LINE...]: lines are added to the configuration. AGENT names a second one; its
# files and its log are called after it. AGENT_POLL is between questions for the role.
agent_start() {
    local node=$1 name=${AGENT:-agent}
    shift
    cat >"$CHAIN/$name.yaml" <<TEXT
escrowds:
  - address: 127.0.0.1
    port: $(cat "$CHAIN/port")
    server_id: spiffe://test/escrowd/e1
    ca_file: $BATS_FILE_TMPDIR/ca/ca.pem
authority_file: $BATS_FILE_TMPDIR/authority.pub
state_file: $CHAIN/$name.roster
notify_socket: $CHAIN/$name.sock
poll: ${AGENT_POLL:-100ms}
instances:
$(agent_entry "$node" g AG1 SSISDB "$BATS_FILE_TMPDIR/act.key")
TEXT
    printf '%s\n' "$@" >>"$CHAIN/$name.yaml"
    spawn "$name" "$BUILD/client/escrow-agent" run --config "$CHAIN/$name.yaml"
    wait_log "$name" 'ready: 1 instances'
}

notify() {
    "$BUILD/client/escrow-agent" notify --socket "$CHAIN/agent.sock"
}

agent_teardown() {
    local status=0
    end_all || status=1
    sqlsim_stop || status=1
    sanitizer_reports || status=1
    return "$status"
}
