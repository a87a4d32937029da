#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The lab's network: namespaces, bridges and cables, nothing in the host's own namespace.
#
#   lab/net.sh up two-arm|one-arm PREFIX   build it (README.md has the pictures)
#   lab/net.sh clients PREFIX COUNT        give the client COUNT (<= 128) further addresses
#   lab/net.sh down PREFIX                 end every process in it and remove it
#   lab/net.sh check-clean PREFIX          list what is left of it; exit 1 if anything is
#   lab/net.sh facts two-arm|one-arm 4|6   names and addresses as KEY=VALUE lines
#
# JUMBO in the environment names the NICs whose segments carry 9000 bytes ("wan lan").
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=topology.sh
. "$here/topology.sh"

usage() {
    sed -n '5,9s/^# *//p' "$0" >&2
    exit 2
}

# Creates a namespace whose interfaces start with no reverse-path filter, and with no IPv6: it is
# switched on where there are addresses, and then only these.
make_namespace() {
    ip netns add "$1"
    ip netns exec "$1" sysctl -qw \
        net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=1 \
        net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 \
        net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.addr_gen_mode=0 \
        net.ipv6.conf.all.accept_redirects=0 net.ipv6.conf.default.accept_redirects=0 \
        net.ipv6.conf.lo.disable_ipv6=0 \
        net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
        net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0 \
        net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.default.accept_redirects=0 \
        net.ipv4.ip_forward=0
    if [[ -n ${JUMBO-} ]]; then
        # The receive ring of a jumbo NIC has 128 places: a window of 1500-byte segments fits even
        # while the worker waits for a core.
        ip netns exec "$1" sysctl -qw net.ipv4.tcp_rmem="4096 65536 131072"
    fi
    ip -n "$1" link set lo up
}

# cable NAMESPACE INTERFACE ADDRESS ADDRESS6 BRIDGE: a veth pair into a bridge of the director's.
# Offloads are off, so that what tcpdump sees is what a wire would carry.
cable() {
    local ns=$1 interface=$2 address=$3 address6=$4 bridge=$5
    local port=${ns#"$PREFIX"-}-${bridge#br-} mtu
    mtu=$(mtu_of "${bridge#br-}")
    ip -n "$ns" link add "$interface" mtu "$mtu" type veth peer name "$port" netns "$DIRECTOR_NS"
    ip -n "$DIRECTOR_NS" link set "$port" mtu "$mtu" master "$bridge" up
    plug "$ns" "$interface" "$address" "$address6"
}

plug() {
    ip netns exec "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null
    ip netns exec "$1" sysctl -qw "net.ipv6.conf.$2.disable_ipv6=0"
    ip -n "$1" addr add "$3/24" dev "$2"
    ip -n "$1" addr add "$4/64" dev "$2" nodad
    ip -n "$1" link set "$2" up
}

# A bridge is a switch: no address, no ARP, no IPv6, a MAC that does not follow its ports.
make_bridge() {
    local bridge=$1 mac=$2
    ip -n "$DIRECTOR_NS" link add "$bridge" address "$mac" type bridge \
        stp_state 0 forward_delay 0 mcast_snooping 0
    ip -n "$DIRECTOR_NS" link set "$bridge" arp off up
}

build_switches() {
    make_namespace "$DIRECTOR_NS"
    # A director answers ARP on the interface that has the address, and on no other.
    ip netns exec "$DIRECTOR_NS" sysctl -qw \
        net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.default.arp_ignore=1 \
        net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.default.arp_announce=2 \
        net.ipv4.ip_local_port_range="50000 60999"
    # Switches look at no IP header: else a firewall's hook drops what is wrong before we see it.
    if [[ -d /proc/sys/net/bridge ]]; then
        ip netns exec "$DIRECTOR_NS" sysctl -qw \
            net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0
    fi
    local nic number=0
    for nic in "${NICS[@]}"; do
        number=$((number + 1))
        make_bridge "br-$nic" "02:00:5e:00:01:0$number"
        if [[ -n ${JUMBO-} ]]; then
            jumbo_nic "$nic"
        fi
    done
}

# jumbo_nic NIC: the NIC as a cable, since net_tap takes no larger MTU than usual: one end in the
# bridge, the other for DPDK. The kernel sees what comes by that one too, and is to ignore it.
jumbo_nic() {
    local nic=$1 mac=MAC_${1^^} mtu
    mtu=$(mtu_of "$nic")
    ip -n "$DIRECTOR_NS" link add "$nic-nic" mtu "$mtu" type veth \
        peer name "$nic-dpdk" mtu "$mtu" address "${!mac}"
    ip netns exec "$DIRECTOR_NS" sysctl -qw "net.ipv4.conf.$nic-dpdk.rp_filter=1"
    ip netns exec "$DIRECTOR_NS" ethtool -K "$nic-dpdk" tx off tso off gso off gro off >/dev/null
    ip -n "$DIRECTOR_NS" link set "$nic-dpdk" arp off up
    ip -n "$DIRECTOR_NS" link set "$nic-nic" arp off master "br-$nic" up
}

build_client() {
    make_namespace "$CLIENT_NS"
    cable "$CLIENT_NS" eth0 "$CLIENT" "$CLIENT6" br-wan
    # The VIPs are neighbours: the client asks for them by ARP or ND, as an edge router would.
    ip -n "$CLIENT_NS" route add "$VIP_PREFIX" dev eth0 src "$CLIENT"
    ip -n "$CLIENT_NS" route add "$VIP6_PREFIX" dev eth0 src "$CLIENT6"
    ip -n "$CLIENT_NS" link add eth1 type veth peer name far netns "$ROUTER_NS"
    plug "$CLIENT_NS" eth1 "$FAR_CLIENT" "$FAR_CLIENT6"
    plug "$ROUTER_NS" far "$FAR_ROUTER" "$FAR_ROUTER6"
    ip -n "$CLIENT_NS" route add default via "$FAR_ROUTER" table 100
    ip -n "$CLIENT_NS" rule add from "$FAR_CLIENT" lookup 100
    ip -n "$CLIENT_NS" route add default via "$FAR_ROUTER6" table 100
    ip -n "$CLIENT_NS" -6 rule add from "$FAR_CLIENT6" lookup 100
}

build_router() {
    make_namespace "$ROUTER_NS"
    ip netns exec "$ROUTER_NS" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    cable "$ROUTER_NS" wan "$ROUTER_WAN" "$ROUTER6_WAN" br-wan
    if [[ $TOPOLOGY == two-arm ]]; then
        cable "$ROUTER_NS" lan "$ROUTER_LAN" "$ROUTER6_LAN" br-lan
    fi
    ip -n "$ROUTER_NS" route add "$VIP_PREFIX" dev wan
    ip -n "$ROUTER_NS" route add "$VIP6_PREFIX" dev wan
}

# Real servers check the reverse path strictly, as many distributions have it.
build_servers() {
    local index
    for index in "${!RS_NS[@]}"; do
        make_namespace "${RS_NS[index]}"
        ip netns exec "${RS_NS[index]}" sysctl -qw \
            net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1
        cable "${RS_NS[index]}" eth0 "${RS[index]}" "${RS6[index]}" "br-$SERVER_NIC"
    done
}

up() {
    use_topology "$1"
    use_prefix "$2"
    if [[ -e $STATE ]]; then
        echo "lab '$PREFIX' is up already (or was not taken down): lab/net.sh down $PREFIX" >&2
        exit 1
    fi
    trap 'down "$PREFIX"' EXIT
    mkdir -p "$STATE"
    echo "$TOPOLOGY" > "$STATE/topology"
    build_switches
    build_router
    build_client
    build_servers
    trap - EXIT
}

clients() {
    use_lab "$1"
    local count=$2 index
    if ! ((count >= 0 && count <= CLIENT_EXTRA_MAX)); then
        echo "COUNT must be 0 to $CLIENT_EXTRA_MAX" >&2
        exit 2
    fi
    for ((index = 0; index < count; index++)); do
        echo "addr replace $CLIENT_EXTRA$((CLIENT_EXTRA_FIRST + index))/32 dev eth0"
        echo "addr replace $CLIENT6_EXTRA$((CLIENT_EXTRA_FIRST + index))/128 dev eth0 nodad"
    done | ip -n "$CLIENT_NS" -batch -
}

# Ends what runs in a namespace: asks first, insists after two seconds.
end_processes() {
    local pids tries
    for tries in $(seq 40); do
        mapfile -t pids < <(ip netns pids "$1")
        ((${#pids[@]})) || return 0
        case $tries in
            1) kill -TERM "${pids[@]}" 2>/dev/null || true ;;
            20 | 30) kill -KILL "${pids[@]}" 2>/dev/null || true ;;
        esac
        sleep 0.1
    done
    echo "processes in $1 do not end: ${pids[*]}" >&2
    return 1
}

present_namespaces() {
    local ns
    for ns in "${NAMESPACES[@]}"; do
        if [[ -e /run/netns/$ns ]]; then
            echo "$ns"
        fi
    done
}

down() {
    use_prefix "$1"
    local ns
    for ns in $(present_namespaces); do
        end_processes "$ns"
        ip netns del "$ns"
    done
    if [[ -L $STATE/data ]]; then
        rm -rf -- "$(readlink "$STATE/data")"
    fi
    rm -rf -- "${STATE:?}"
    rmdir --ignore-fail-on-non-empty /run/pointsman-lab 2>/dev/null || true
}

check_clean() {
    use_prefix "$1"
    local left
    left=$(
        present_namespaces | sed 's/^/namespace /'
        if [[ -e $STATE ]]; then echo "folder $STATE"; fi
        pgrep -af -- "$STATE/" | sed 's/^/process /' || true
        ip -o link show | awk -F': ' -v p="$PREFIX-" 'index($2, p) == 1 { print "interface", $2 }'
    )
    if [[ -n $left ]]; then
        echo "$left"
        return 1
    fi
}

facts() {
    use_topology "$1"
    local name variable
    for name in CLIENT FAR_CLIENT CLIENT_EXTRA VIP_NAT VIP_FULLNAT VIP_TUN VIP_DR VIP_MIXED \
        VIP_IDLE VIP_CROSS DIRECTOR_WAN DIRECTOR_LAN ROUTER_WAN; do
        variable=$name
        if [[ $2 == 6 ]]; then
            variable=$(sed -E 's/^(FAR_CLIENT|[A-Z]+)/\16/' <<< "$name")
        fi
        echo "$name=${!variable}"
    done
    for name in TOPOLOGY CLIENT_EXTRA_FIRST MAC_WAN MAC_LAN SERVER_NIC METRICS; do
        echo "$name=${!name}"
    done
    echo "NICS=${NICS[*]}"
    if [[ $2 == 6 ]]; then
        echo "RS=${RS6[*]}"
        echo "LOCALS=${LOCALS6[*]}"
    else
        echo "RS=${RS[*]}"
        echo "LOCALS=${LOCALS[*]}"
    fi
}

case ${1-}:$# in
    up:3) up "$2" "$3" ;;
    clients:3) clients "$2" "$3" ;;
    down:2) down "$2" ;;
    check-clean:2) check_clean "$2" ;;
    facts:3) facts "$2" "$3" ;;
    *) usage ;;
esac
