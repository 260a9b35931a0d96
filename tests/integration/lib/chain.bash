# SPDX-License-Identifier: Apache-2.0
# bash: the whole chain on this machine, for bats and for the demo: swtpm, certificates, roster, a
# modelled availability group, escrowd, an agent for each replica. The caller sets CHAIN (an empty
# folder that goes away with it and that every user may traverse; chain_folder does) and BUILD.
#
#   chain_prepare 3                    certificates, TPM, member, roster, approvals, configuration
#   chain_sqlsim <<<PASSWORD           replicas sql1 ... (SQL1 ... to SQL Server), SQL1 primary
#   chain_escrowd && chain_publish     escrowd is ready and knows its roster
#   chain_deposit <<<PASSWORD
#   chain_agents                       every agent watches
#   chain_end                          at the end, or
#   chain_teardown                     in teardown: the logs of a test that failed, too
#
#   chain_serve 3 <<<PASSWORD          the first three lines at once
#
# Settings, before chain_prepare: CHAIN_CLUSTER_TYPE (wsfc), CHAIN_RULES (lines of the policy's
# group), CHAIN_SWITCHES (JSON, of sqlsim), CHAIN_READABLE (SQL2=all SQL3=read_only: what of sqlsim's
# instances can be read as a secondary), CHAIN_POLL, CHAIN_DEADLINE and CHAIN_CATALOG (of the
# agents: poll, worker_deadline, catalog_startup), CHAIN_SQL_TIMEOUT (of agents and escrowd),
# CHAIN_AWAY (a port where nobody is: the agents' second escrowd), CHAIN_GROUPS (names of more groups
# on the same instances; the availability group and its database have that name), CHAIN_DATABASES (names
# of more databases of the first group, which its agents serve too), CHAIN_ADMINS (names
# of more admins), CHAIN_LIMITS (YAML, of escrowd), CHAIN_TPM (a socket in front of the TPM's),
# CHAIN_PCAP (sqlsim's capture file), CHAIN_ALERT (a command, of escrowd's alert:), CHAIN_REALM (kerberos.bash: its REALM; logins by keytab),
# CHAIN_NETWORK (network.bash: a network of escrowd and the nodes; each is on a host of its own),
# CHAIN_SECOND (a second escrowd, e2, with a TPM of its own; not in a network): second COMMAND... does
# with it what COMMAND does with the first.

# shellcheck source=tests/integration/lib/processes.bash
. "$(dirname "${BASH_SOURCE[0]}")/processes.bash"
# shellcheck source=tests/integration/lib/network.bash
. "$(dirname "${BASH_SOURCE[0]}")/network.bash"

CHAIN_CERTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../../certs" && pwd)/escrow-certs
# The programs; tests/plain has them as a release builds them.
CHAIN_ESCROWD=${CHAIN_ESCROWD:-$BUILD/escrowd/escrowd}
CHAIN_AGENT=${CHAIN_AGENT:-$BUILD/client/escrow-agent}
CHAIN_GROUP=ssis
CHAIN_AG=AG1
# The users of escrowd's roles, where root starts it: numbers that no account has.
CHAIN_KEEPER=64801 CHAIN_FRONT=64802 CHAIN_PROBER=64803 CHAIN_ALERTER=64804

# second COMMAND...: a function of this file, about the second escrowd. Its files and its log have -2
# behind their names.
second() {
    local CHAIN_E=-2 CHAIN_LABEL=e2 CHAIN_HOST=127.0.0.2 CHAIN_PORT=${CHAIN_PORT_2:-}
    "$@" || return
    CHAIN_PORT_2=$CHAIN_PORT
}

# chain_address PARTY [NUMBER]: of escrowd, or of a node. NUMBER: no name, where there is no network.
chain_address() {
    if [ -n "${CHAIN_NETWORK:-}" ]; then
        network_address "$1"
    else
        echo "${2:-${CHAIN_ADDRESS:-127.0.0.1}}"
    fi
}

# chain_at PARTY: sets CHAIN_AT, what a command begins with that is to run on that party's host.
chain_at() {
    CHAIN_AT=()
    [ -z "${CHAIN_NETWORK:-}" ] || CHAIN_AT=(nsenter "--net=$(network_file "$CHAIN_NETWORK" "$1")")
}

# ctl COMMAND...: escrowctl as the admin, on escrowd's host.
ctl() {
    chain_at escrowd
    "${CHAIN_AT[@]}" "$BUILD/client/escrowctl" --config "$CHAIN/admin.yaml" "$@"
}

# ctl_offline COMMAND...: escrowctl where it needs no escrowd.
ctl_offline() {
    "$BUILD/client/escrowctl" "$@"
}

# sim COMMAND...: steers sqlsim.
sim() {
    "$BUILD/tests/sqlsim/sqlsim" ctl "$CHAIN/run/sqlsim" "$@"
}

# chain_prepare COUNT: everything that needs no running process but the TPM.
chain_prepare() {
    local i
    CHAIN_NODES=()
    for ((i = 1; i <= $1; i++)); do
        CHAIN_NODES+=("sql$i")
    done
    mkdir -p "$CHAIN"/{pki,keys,tpm,log,run,docs} ${CHAIN_SECOND:+"$CHAIN/tpm-2"}
    chmod 0755 "$CHAIN" "$CHAIN"/*
    chain_certificates
    chain_swtpm
    [ -z "${CHAIN_SECOND:-}" ] || second chain_swtpm
    chain_policy
    chain_sql_passwords
}

chain_certificates() {
    local node person
    "$CHAIN_CERTS" init-ca "$CHAIN/ca"
    "$CHAIN_CERTS" init-ca "$CHAIN/sqlca"
    "$CHAIN_CERTS" server --id spiffe://test/escrowd/e1 --ip "$(chain_address escrowd 127.0.0.1)" \
        --out "$CHAIN/pki" "$CHAIN/ca"
    [ -z "${CHAIN_SECOND:-}" ] || "$CHAIN_CERTS" server --id spiffe://test/escrowd/e2 \
        --ip 127.0.0.2 --out "$CHAIN/pki" "$CHAIN/ca"
    "$CHAIN_CERTS" admin --id spiffe://test/admin --out "$CHAIN/pki" "$CHAIN/ca"
    "$CHAIN_CERTS" auditor --id spiffe://test/auditor --out "$CHAIN/pki" "$CHAIN/ca"
    for person in ${CHAIN_ADMINS:-}; do
        "$CHAIN_CERTS" admin --id "spiffe://test/$person" --out "$CHAIN/pki" "$CHAIN/ca"
    done
    for person in admin auditor ${CHAIN_ADMINS:-} "${CHAIN_NODES[@]}"; do
        "$CHAIN_CERTS" key act "$CHAIN/keys/$person.act"
    done
    for node in "${CHAIN_NODES[@]}"; do
        "$CHAIN_CERTS" agent --id "spiffe://test/agent/$node" --out "$CHAIN/pki" "$CHAIN/ca"
        "$CHAIN_CERTS" server --id "spiffe://test/mssql/$node" --dns "$node.test" \
            --out "$CHAIN/pki" "$CHAIN/sqlca"
    done
    "$CHAIN_CERTS" key authority "$CHAIN/keys/authority"
    "$CHAIN_CERTS" key recovery "$CHAIN/keys/recovery"
    chmod 0755 "$CHAIN/ca" "$CHAIN/sqlca"
    chmod 0644 "$CHAIN"/{ca,sqlca}/*.pem
} >>"$CHAIN/log/certificates" 2>&1

# The TPM survives its kill: chain_swtpm starts it again with the same state.
chain_swtpm() {
    local folder=$CHAIN/tpm${CHAIN_E:-}
    swtpm socket --tpm2 --tpmstate "dir=$folder" --flags not-need-init,startup-clear \
        --server "type=unixio,path=$folder/sock" --ctrl "type=unixio,path=$folder/sock.ctrl" \
        --daemon --pid "file=$folder/pid" 3>&-
    chmod 0666 "$folder"/sock*
}

# chain_swtpm_end [SIGNAL]
# shellcheck disable=SC2120 # tests name KILL
chain_swtpm_end() {
    local pid folder=$CHAIN/tpm${CHAIN_E:-}
    [ -s "$folder/pid" ] || return 0
    pid=$(cat "$folder/pid")
    kill -s "${1:-TERM}" "$pid" 2>/dev/null || true
    timeout 30 tail --pid="$pid" -s 0.05 -f /dev/null
    rm -f "$folder"/{pid,sock,sock.ctrl}
}

# chain_of GROUP: sets CHAIN_OF_AG and CHAIN_OF_DATABASES, its availability group and its databases for
# YAML.
chain_of() {
    CHAIN_OF_AG=$1 CHAIN_OF_DATABASES=$1
    [ "$1" = "$CHAIN_GROUP" ] || return 0
    CHAIN_OF_AG=$CHAIN_AG CHAIN_OF_DATABASES="SSISDB ${CHAIN_DATABASES:-}"
    CHAIN_OF_DATABASES=${CHAIN_OF_DATABASES% }
    CHAIN_OF_DATABASES=${CHAIN_OF_DATABASES// /, }
}

chain_policy() {
    local node group
    {
        echo groups:
        for group in "$CHAIN_GROUP" ${CHAIN_GROUPS:-}; do
            chain_of "$group"
            printf '  - name: %s\n    availability_group: %s\n' "$group" "$CHAIN_OF_AG"
            printf '    cluster_type: %s\n    databases: [%s]\n' "${CHAIN_CLUSTER_TYPE:-wsfc}" \
                "$CHAIN_OF_DATABASES"
            [ -z "${CHAIN_RULES:-}" ] || printf '    %s\n' "${CHAIN_RULES//$'\n'/$'\n'    }"
            printf '    replicas:\n'
            for node in "${CHAIN_NODES[@]}"; do
                printf '      - {instance: %s, server_name: %s}\n' "$node" "${node^^}"
            done
        done
    } >"$CHAIN/policy.yaml"
}

# owned USER FILE: only that user may read it (root gives it away; another user is every role).
owned() {
    chmod 0600 "$2"
    [ "$(id -u)" -ne 0 ] || chown "$1" "$2"
}

chain_sql_passwords() {
    local login
    for login in agent prober sa; do
        (umask 077 && openssl rand -hex 16 >"$CHAIN/keys/sql-$login")
    done
    owned "$CHAIN_PROBER" "$CHAIN/keys/sql-prober"
}

# chain_grants ROLE [OPTION...]: the script of sql-grants for the login of that role.
chain_grants() {
    "$BUILD/client/escrowctl" sql-grants --role "$1" --login "${CHAIN_REALM:+ESCROW\\}escrow_$1" \
        --database SSISDB "${@:2}"
}

# chain_sqlsim <PASSWORDS, one a line: what opens the master key. Arguments would show them. The
# logins have what sql-grants gives them: its scripts are run on each replica.
chain_sqlsim() {
    local node config instances='[]'
    for node in "${CHAIN_NODES[@]}"; do
        instances=$(jq -c --arg name "${node^^}" --arg pem "$CHAIN/pki/mssql-$node.pem" \
            --arg key "$CHAIN/pki/mssql-$node.key" \
            --arg network "${CHAIN_NETWORK:+$(network_file "$CHAIN_NETWORK" "$node")}" \
            --arg readable "${CHAIN_READABLE:-}" \
            '. + [{name: $name, certificate: $pem, key: $key}
                  + if $network == "" then {} else {network: $network} end
                  + ($readable | (capture($name + "=(?<readable>[a-z_]+)") // {}))]' <<<"$instances")
    done
    config=$(jq -c -n -R --argjson instances "$instances" --arg control "$CHAIN/run/sqlsim" \
        --arg ag "$CHAIN_AG" --arg cluster "${CHAIN_CLUSTER_TYPE:-wsfc}" \
        --rawfile agent "$CHAIN/keys/sql-agent" --rawfile prober "$CHAIN/keys/sql-prober" \
        --rawfile sa "$CHAIN/keys/sql-sa" \
        --rawfile for_agent <(chain_grants agent --catalog-startup) \
        --rawfile for_prober <(chain_grants prober) --rawfile for_more <(chain_grants agent) \
        --arg more "${CHAIN_GROUPS:-}" --arg databases "${CHAIN_DATABASES:-}" \
        --arg realm "${CHAIN_REALM:-}" --argjson switches "${CHAIN_SWITCHES:-"{}"}" '
        def script($text; $password):
            {login: "sa", $text, variables: {ESCROW_LOGIN_PASSWORD: ($password | rtrimstr("\n"))}};
        def sid: capture("(?<sid>0x[0-9a-f]{32})").sid;
        def of($name): gsub("SSISDB"; $name) | gsub("0x[0-9a-f]{32}"; $for_agent | sid);
        {group: {name: $ag, cluster_type: ($cluster | ascii_upcase)},
         database: {name: "SSISDB", master_key_passwords: [inputs], probe_certificate: false},
         control: $control, switches: $switches, instances: $instances,
         logins: [{name: "sa", password: ($sa | rtrimstr("\n")), rights: ["sysadmin"]}],
         scripts: [script($for_agent; $agent), script($for_prober; $prober)]}
        | if $realm == "" then . else .instances[].keytab = $realm + "/service.keytab" end
        | def grant($name): .scripts += [script($for_more | of($name); $agent),
                                         script($for_prober | gsub("SSISDB"; $name); $prober)];
        if $more + $databases == "" then . else
            .groups = [.group + {databases: [.database]}]
            | reduce ($databases | split(" "))[] as $name (.;
                .groups[0].databases += [.database + {$name}] | grant($name))
            | reduce ($more | split(" "))[] as $name (.;
                .groups += [.group + {$name, databases: [.database + {$name}]}] | grant($name))
            | .groups[] += {primary: $instances[0].name, replicas: ($instances | map(.name))}
            | del(.group, .database) end')
    # Not left to the process that begins: what an earlier sqlsim said would be taken for its word.
    : >"$CHAIN/log/sqlsim"
    "$BUILD/tests/sqlsim/sqlsim" ${CHAIN_PCAP:+--pcap "$CHAIN_PCAP"} - \
        < <(printf '%s' "$config") >"$CHAIN/log/sqlsim" 2>&1 3>&- &
    CHAIN_PIDS["sqlsim"]=$!
    wait_log sqlsim '"ready":true'
}

# sql_port NODE
sql_port() {
    grep -m 1 '"ready":true' "$CHAIN/log/sqlsim" | jq -r --arg name "${1^^}" '.ports[$name]'
}

# chain_instance NODE LOGIN: an instance as escrowd and the agent name it, an item of a YAML list.
chain_instance() {
    cat <<TEXT
  - name: $1
    address: $(chain_address "$1")
    port: $(sql_port "$1")
    tls_name: $1.test
    ca_file: $CHAIN/sqlca/ca.pem
TEXT
    if [ -n "${CHAIN_REALM:-}" ]; then
        printf '    %s: %s\n' keytab "$CHAIN/keys/$2.keytab" krb5_conf "$CHAIN_REALM/krb5.conf" \
            kdc_port "$KDC_PORT"
    else
        printf '    %s: %s\n' login "escrow_$2" password_file "$CHAIN/keys/sql-$2"
    fi
    [ -z "${CHAIN_SQL_TIMEOUT:-}" ] ||
        printf '    %s_timeout: %s\n' login "$CHAIN_SQL_TIMEOUT" query "$CHAIN_SQL_TIMEOUT"
}

# escrowd.yaml. Port 0 at first; afterwards the port that it got, so that agents find it again.
chain_configuration() {
    local node limits=${CHAIN_LIMITS:-"{}"}
    {
        cat <<TEXT
member: ${CHAIN_LABEL:-e1}
listen: {address: $(chain_address escrowd "${CHAIN_HOST:-127.0.0.1}"), port: ${CHAIN_PORT:-0}}
tls:
  ca_file: $CHAIN/ca/ca.pem
  crl_file: $CHAIN/ca/crl.pem
  certificate_file: $CHAIN/pki/escrowd-${CHAIN_LABEL:-e1}.pem
  key_file: $CHAIN/pki/escrowd-${CHAIN_LABEL:-e1}.key
tpm: {tcti: "swtpm:path=${CHAIN_TPM:-$CHAIN/tpm${CHAIN_E:-}/sock}", pcrs: ["7"]}
limits: $limits
state_folder: $CHAIN/escrowd${CHAIN_E:-}
audit_folder: $CHAIN/audit${CHAIN_E:-}
policy_file: $CHAIN/policy.yaml
authority_file: $CHAIN/keys/authority.pub
recovery_file: $CHAIN/keys/recovery.pub
TEXT
        [ "$(id -u)" -ne 0 ] ||
            printf "users: {keeper: '%s', front: '%s', prober: '%s', alerter: '%s'}\n" \
                "$CHAIN_KEEPER" "$CHAIN_FRONT" "$CHAIN_PROBER" "$CHAIN_ALERTER"
        [ -z "${CHAIN_ALERT:-}" ] || echo "alert: {command: $CHAIN_ALERT}"
        echo 'instances:'
        for node in "${CHAIN_NODES[@]}"; do
            chain_instance "$node" prober
            [ -z "${CHAIN_REALM:-}" ] || printf '    agent_login: %s\n' 'ESCROW\escrow_agent'
        done
    } >"$CHAIN/escrowd${CHAIN_E:-}.yaml"
}

chain_init() {
    chain_configuration
    "$CHAIN_ESCROWD" init --config "$CHAIN/escrowd${CHAIN_E:-}.yaml"
}

# chain_member: `escrowd init`, then what enrollment and the offline authority do for it.
chain_member() {
    local node person
    chain_init || return
    [ -z "${CHAIN_SECOND:-}" ] || second chain_init || return
    for person in admin auditor; do
        ctl_offline enroll --identity "spiffe://test/$person" --role "$person" --group '*' \
            --act-key "$CHAIN/keys/$person.act" --out "$CHAIN/docs/$person.enroll" || return
    done
    for person in ${CHAIN_ADMINS:-}; do
        ctl_offline enroll --identity "spiffe://test/$person" --role admin --group '*' \
            --act-key "$CHAIN/keys/$person.act" --out "$CHAIN/docs/$person.enroll" || return
    done
    for node in "${CHAIN_NODES[@]}"; do
        ctl_offline enroll --identity "spiffe://test/agent/$node" --role agent \
            --group "$CHAIN_GROUP" --instance "$node" --act-key "$CHAIN/keys/$node.act" \
            --out "$CHAIN/docs/$node.enroll" || return
    done
    chain_authority
} >>"$CHAIN/log/member" 2>&1

# chain_authority: signs roster and approvals for everybody who is enrolled.
chain_authority() {
    local key="$CHAIN/keys/authority" roster="$CHAIN/docs/roster"
    ctl_offline roster new --key "$key" --recovery "$CHAIN/keys/recovery.pub" --roster "$roster" &&
        ctl_offline roster add-key --key "$key" --roster "$roster" "$CHAIN"/docs/*.enroll &&
        chain_approve &&
        if [ -n "${CHAIN_SECOND:-}" ]; then second chain_approve; fi
}

# chain_approve: the escrowd in the roster, and the approvals that its TPM wants.
chain_approve() {
    local key="$CHAIN/keys/authority" roster="$CHAIN/docs/roster"
    local member="$CHAIN/escrowd${CHAIN_E:-}/member.json"
    ctl_offline roster add-member --key "$key" --roster "$roster" "$member" &&
        ctl_offline authority approve-host --key "$key" --member "$member" \
            --group "$CHAIN_GROUP" --out "$CHAIN/docs/host${CHAIN_E:-}" &&
        ctl_offline authority approve-node --key "$key" --member "$member" --roster "$roster" \
            --out "$CHAIN/docs/node${CHAIN_E:-}"
}

# chain_escrowd: starts it and waits until it listens.
chain_escrowd() {
    local before name=escrowd${CHAIN_E:-}
    chain_configuration
    before=$(count_log "$name" '"ready": true')
    chain_at escrowd
    spawn "$name" "${CHAIN_AT[@]}" "$CHAIN_ESCROWD" run --config "$CHAIN/$name.yaml"
    wait_log "$name" '"ready": true' $((before + 1))
    CHAIN_PORT=$(grep '"ready": true' "$CHAIN/log/$name" | tail -n 1 | jq .port)
}

# chain_named LABEL ADDRESS PORT: an escrowd as agents and escrowctl name it.
chain_named() {
    cat <<TEXT
  - address: $2
    port: $3
    server_id: spiffe://test/escrowd/$1
    ca_file: $CHAIN/ca/ca.pem
    crl_file: $CHAIN/ca/crl.pem
TEXT
}

# chain_escrowds ADDRESS: all of them; the first has this address.
chain_escrowds() {
    echo escrowds:
    chain_named e1 "$1" "$CHAIN_PORT"
    [ -z "${CHAIN_SECOND:-}" ] || chain_named e2 127.0.0.2 "$CHAIN_PORT_2"
}

# chain_person NAME: the configuration of escrowctl for admin or auditor.
chain_person() {
    cat >"$CHAIN/$1.yaml" <<TEXT
$(chain_escrowds "$(chain_address escrowd 127.0.0.1)")
certificate_file: $CHAIN/pki/$1.pem
key_file: $CHAIN/pki/$1.key
act_key_file: $CHAIN/keys/$1.act
authority_file: $CHAIN/keys/authority.pub
state_file: $CHAIN/run/$1.roster
TEXT
}

# chain_hand_over: escrowd gets the roster and the approvals from the admin.
chain_hand_over() {
    chain_person admin
    chain_person auditor
    ctl publish "$CHAIN/docs/roster" "$CHAIN"/docs/host* "$CHAIN"/docs/node* \
        >>"$CHAIN/log/publish" 2>&1
}

# chain_publish: the same, until the watch has seen who is primary now.
chain_publish() {
    chain_hand_over && wait_log escrowd "epoch record=.* group=$CHAIN_GROUP" &&
        if [ -n "${CHAIN_SECOND:-}" ]; then
            wait_log escrowd-2 "epoch record=.* group=$CHAIN_GROUP"
        fi
}

# chain_serve COUNT <PASSWORDS: as chain_sqlsim; until escrowd knows its roster and who is primary.
chain_serve() {
    chain_prepare "$1" </dev/null
    chain_sqlsim
    chain_member || {
        cat "$CHAIN/log/member" >&2
        return 1
    }
    chain_escrowd
    [ -z "${CHAIN_SECOND:-}" ] || second chain_escrowd
    chain_publish
}

# chain_deposit [DATABASE] <PASSWORD
# shellcheck disable=SC2120 # the database may be left out
chain_deposit() {
    ctl deposit --group "$CHAIN_GROUP" --database "${1:-SSISDB}" --password-fd 0 \
        >>"$CHAIN/log/deposit" 2>&1
}

# chain_agents: one for each replica, until each watches its instance.
chain_agents() {
    local node
    for node in "${CHAIN_NODES[@]}"; do
        chain_agent "$node"
    done
    for node in "${CHAIN_NODES[@]}"; do
        sim wait login "${node^^}" "${CHAIN_REALM:+ESCROW\\}escrow_agent" >/dev/null || return
    done
}

# chain_entry NODE GROUP IDENTITY: one of the instances in an agent's configuration.
chain_entry() {
    chain_of "$2"
    chain_instance "$1" agent
    cat <<TEXT
    group: $2
    certificate_file: $CHAIN/pki/agent-$3.pem
    key_file: $CHAIN/pki/agent-$3.key
    act_key_file: $CHAIN/keys/$3.act
    availability_group: $CHAIN_OF_AG
    databases: [$CHAIN_OF_DATABASES]
    catalog_startup: ${CHAIN_CATALOG:-false}
TEXT
}

# chain_agent NODE [GROUP IDENTITY]...: one agent process for one instance; without groups, the first
# one by the node's own identity.
chain_agent() {
    local node=$1
    shift
    [ $# -gt 0 ] || set -- "$CHAIN_GROUP" "$node"
    mkdir -p "$CHAIN/run/$node"
    {
        chain_escrowds "$(chain_address escrowd)"
        [ -z "${CHAIN_AWAY:-}" ] || chain_named e2 "$(chain_address escrowd)" "$CHAIN_AWAY"
        cat <<TEXT
authority_file: $CHAIN/keys/authority.pub
state_file: $CHAIN/run/$node/roster
notify_socket: $CHAIN/run/$node/notify
poll: ${CHAIN_POLL:-100ms}
worker_deadline: ${CHAIN_DEADLINE:-30s}
instances:
TEXT
        while [ $# -gt 0 ]; do
            chain_entry "$node" "$1" "$2"
            shift 2
        done
    } >"$CHAIN/run/$node/agent.yaml"
    chain_at "$node"
    spawn "agent-$node" "${CHAIN_AT[@]}" "$CHAIN_AGENT" --config "$CHAIN/run/$node/agent.yaml"
}

# chain_watched NODE: until escrowd's watch has asked that replica twice more, so it knows its role.
chain_watched() {
    local asked
    asked=$(sim log "${1^^}" |
        jq '[.statements[] | select(.statement | contains("dm_hadr_cluster"))] | length')
    sim wait statement "${1^^}" dm_hadr_cluster $((asked + 2)) >/dev/null
}

# chain_processes: {"NAME": PID} of every process of escrowd and of the agents, and of sqlsim.
chain_processes() {
    local name pid child role
    for name in "${!CHAIN_PIDS[@]}"; do
        pid=${CHAIN_PIDS[$name]}
        printf '%s\t%s\n' "$name" "$pid"
        for child in $(pgrep -P "$pid"); do
            role=$(tr '\0' ' ' <"/proc/$child/cmdline") || continue
            [ -n "$role" ] || continue # a zombie has no memory
            printf '%s %s\t%s\n' "$name" "$(sed -E 's/.*--role ([^ ]+).*/\1/' <<<"$role") $child" "$child"
        done
    done | jq -R -n -c '[inputs | split("\t") | {key: .[0], value: (.[1] | tonumber)}] | from_entries'
}

# chain_end: in teardown; fails if a part did not end by itself or sqlsim met an unknown statement.
chain_end() {
    local unknown status=0
    if [ -n "${CHAIN_PIDS["sqlsim"]:-}" ]; then
        unknown=$(sim state | jq -c .unknown) || unknown='"no answer"'
        [ "$unknown" = '[]' ] || {
            printf 'sqlsim was sent what it does not know: %s\n' "$unknown" >&2
            status=1
        }
    fi
    end_all || status=1
    chain_swtpm_end || status=1
    second chain_swtpm_end || status=1
    return "$status"
}

# chain_teardown: chain_end, and what bats shall show of a test that failed.
chain_teardown() {
    local status=0
    chain_end || status=1
    sanitizer_reports || status=1
    if [ "$status" -ne 0 ] || [ -z "${BATS_TEST_COMPLETED:-}" ]; then
        tail -n 40 "$CHAIN"/log/* >&2 || true
    fi
    return "$status"
}
