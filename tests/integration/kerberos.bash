# SPDX-License-Identifier: Apache-2.0
# bash: a Kerberos realm of its own on a port of 127.0.0.1, for bats files. The caller sets REALM, an
# empty folder that goes away with it and that every user may traverse, and has processes.bash.
#
#   realm_make                     configuration, database, no principal; with an empty REALM_UDP
#                                  its KDC has no UDP
#   realm_add NAME...              principals with random keys
#   realm_keytab FILE NAME...      the keys they have, into a keytab
#   kdc_start [OFFSET]             the KDC, its clock off by OFFSET (+1h)
#   end kdc

REALM_NAME=ESCROW.TEST

# kdc_fetch: Debian's KDC, unpacked and not installed: installing it would start a server. One suite at
# a time, since two may run at once.
kdc_fetch() {
    local peers=$BUILD/peers
    PATH=$PATH:/usr/sbin
    command -v krb5kdc kadmin.local >/dev/null && return
    PATH=$PATH:$peers/usr/sbin
    mkdir -p "$peers"
    (
        flock 9
        [ ! -e "$peers/kdc" ] || exit 0
        cd "$peers" && apt-get -q download krb5-kdc krb5-admin-server || exit
        for package in krb5-*.deb; do
            dpkg-deb -x "$package" . && rm "$package" || exit
        done
        touch kdc
    ) 9>"$peers/lock"
} >&2

# free_port: of TCP and UDP on 127.0.0.1, free a moment ago.
free_port() {
    python3 -c '
import socket
tcp = socket.create_server(("127.0.0.1", 0))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(tcp.getsockname())
print(tcp.getsockname()[1])'
}

# realm_client FILE [LINE...]: a krb5.conf; LINEs go to its libdefaults.
realm_client() {
    {
        printf '[libdefaults]\n default_realm = %s\n dns_lookup_kdc = false\n' "$REALM_NAME"
        printf ' dns_lookup_realm = false\n dns_canonicalize_hostname = false\n'
        [ $# -lt 2 ] || printf ' %s\n' "${@:2}"
        printf '[realms]\n %s = {\n  kdc = 127.0.0.1:%s\n }\n' "$REALM_NAME" "$KDC_PORT"
    } >"$1"
}

realm_make() {
    local modules
    kdc_fetch || return
    KDC_PORT=$(free_port)
    export KRB5_CONFIG=$REALM/krb5.conf KRB5_KDC_PROFILE=$REALM/kdc.conf
    modules=$(command -v krb5kdc)
    modules=$(printf '%s' "${modules%/sbin/*}"/lib/*/krb5/plugins/kdb)
    mkdir -p "$REALM/log"
    realm_client "$REALM/krb5.conf"
    cat >"$REALM/kdc.conf" <<TEXT
[kdcdefaults]
 kdc_listen = "${REALM_UDP-127.0.0.1:$KDC_PORT}"
 kdc_tcp_listen = 127.0.0.1:$KDC_PORT
[realms]
 $REALM_NAME = {
  database_name = $REALM/principal
  key_stash_file = $REALM/stash
  supported_enctypes = aes256-cts:normal
  default_principal_flags = +preauth
 }
[dbmodules]
 db_module_dir = $modules
[logging]
 kdc = FILE:$REALM/log/kdc
TEXT
    kdb5_util create -s -r "$REALM_NAME" -P "$(openssl rand -hex 16)" >>"$REALM/log/make" 2>&1
}

# admin: commands of kadmin on standard input
admin() {
    kadmin.local -r "$REALM_NAME" >>"$REALM/log/make" 2>&1
}

realm_add() {
    printf 'addprinc -randkey %s\n' "$@" | admin
}

realm_keytab() {
    printf "ktadd -norandkey -k $1 %s\n" "${@:2}" | admin
}

# kdc_start [OFFSET]: its clock off by OFFSET (+1h). Preloaded here, since faketime(1) would start the
# KDC as a child, which outlives it.
kdc_start() {
    local before
    local -a clock=()
    [ -z "${1:-}" ] || clock=(env FAKETIME="$1" LD_PRELOAD="$(echo /usr/lib/*/faketime/libfaketime.so.1)")
    before=$(CHAIN=$REALM count_log kdc 'commencing operation')
    CHAIN=$REALM spawn kdc "${clock[@]}" krb5kdc -n -r "$REALM_NAME" -P "$REALM/pid"
    CHAIN=$REALM wait_log kdc 'commencing operation' $((before + 1))
}
