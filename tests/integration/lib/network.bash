# SPDX-License-Identifier: Apache-2.0
# bash: hosts that are network namespaces, each joined with each other one by a line of its own (a
# pair of veth devices), so that any of these can be cut without another. As root.
#
#   network_is_possible || skip ...
#   network_new NETWORK escrowd sql1 sql2     NETWORK: a name that nobody else on this machine has
#   network_end NETWORK                       fails if a process is still on one of the hosts
#
# Addresses are those of RFC 5737, the same in every network. escrowd has two: agents find it at the
# first, and what it asks itself leaves from the second, so that each can be cut alone. Who is behind
# a line is written into its ends (permanent neighbours): partitions.py cuts a line by writing there
# who is not.

# Every namespace that this process made, with its inode.
declare -gA NETWORK_INODES=()

network_is_possible() {
    [ "$(id -u)" -eq 0 ] && unshare --net ip link add to-a type veth peer name to-b 2>/dev/null
}

# network_address PARTY
network_address() {
    case $1 in
    escrowd) echo 192.0.2.100 ;;
    *) echo "192.0.2.${1#sql}" ;;
    esac
}

# network_source PARTY: where its own connections come from.
network_source() {
    case $1 in
    escrowd) echo 192.0.2.200 ;;
    *) network_address "$1" ;;
    esac
}

# network_file NETWORK PARTY
network_file() {
    echo "/run/netns/$1-$2"
}

# network_device PARTY PEER: the hardware address of PARTY's end of the line to PEER.
network_device() {
    local party peer
    party=$(network_address "$1") peer=$(network_address "$2")
    printf '02:00:00:00:%02x:%02x\n' "${party##*.}" "${peer##*.}"
}

# network_end_of NETWORK PARTY PEER: PARTY's end of their line, which is there already.
network_end_of() {
    local address
    {
        echo "link set to-$3 up"
        for address in $(printf '%s\n' "$(network_address "$3")" "$(network_source "$3")" | sort -u); do
            echo "route add $address/32 dev to-$3 src $(network_source "$2")"
            echo "neigh add $address lladdr $(network_device "$3" "$2") dev to-$3 nud permanent"
        done
    } | ip -n "$1-$2" -batch -
}

# network_new NETWORK PARTY...
network_new() {
    local network=$1 party peer
    local -a made=()
    shift
    for party in "$@"; do
        ip netns add "$network-$party" || return
        NETWORK_INODES[$network-$party]=$(stat -L -c %i "$(network_file "$network" "$party")")
        {
            echo "link set lo up"
            printf 'addr add %s/32 dev lo\n' "$(network_address "$party")" "$(network_source "$party")"
        } | sort -u | ip -n "$network-$party" -batch - || return
        for peer in "${made[@]}"; do
            ip -n "$network-$party" link add "to-$peer" address "$(network_device "$party" "$peer")" \
                type veth peer name "to-$party" address "$(network_device "$peer" "$party")" \
                netns "$network-$peer" || return
            network_end_of "$network" "$party" "$peer" || return
            network_end_of "$network" "$peer" "$party" || return
        done
        made+=("$party")
    done
}

# network_end NETWORK: its namespaces go, and the lines with them.
network_end() {
    local name inode status=0 inhabited
    inhabited=$(stat -L -c '%i %n' /proc/[0-9]*/ns/net 2>/dev/null) || true
    for name in "${!NETWORK_INODES[@]}"; do
        [[ $name == "$1"-* ]] || continue
        inode=${NETWORK_INODES[$name]}
        unset "NETWORK_INODES[$name]"
        ! grep "^$inode " <<<"$inhabited" >&2 || status=1
        ip netns delete "$name" || status=1
    done
    return "$status"
}
