# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash disable=SC2034
# Names and addresses of the lab, for the scripts beside this file to source.
#
# use_topology two-arm|one-arm sets the variables below; README.md has the picture.
# Prefixes: 198.51.100.0/24 client segment, 10.0.0.0/24 server segment, 192.0.2.0/24 VIPs,
# 203.0.113.0/24 clients beyond the router.

VIP_NAT=192.0.2.1
VIP_FULLNAT=192.0.2.2
VIP_TUN=192.0.2.3
VIP_DR=192.0.2.4
# A service whose servers differ in mode: rs1 NAT, rs2 DR, rs3 TUN.
VIP_MIXED=192.0.2.5
# On the director, but with no service.
VIP_IDLE=192.0.2.6
VIPS=("$VIP_NAT" "$VIP_FULLNAT" "$VIP_TUN" "$VIP_DR" "$VIP_MIXED" "$VIP_IDLE")
VIP_PREFIX=192.0.2.0/24

CLIENT=198.51.100.10
CLIENT_EXTRA=198.51.100
CLIENT_EXTRA_FIRST=64
CLIENT_EXTRA_MAX=128
FAR_CLIENT=203.0.113.10
FAR_ROUTER=203.0.113.254
ROUTER_WAN=198.51.100.254
DIRECTOR_WAN=198.51.100.1

# Where the director is asked for /metrics, in its own namespace.
METRICS=127.0.0.1:9109

# Addresses of the DPDK NICs; the kernel's side of their taps gets others (see director.sh).
MAC_WAN=02:00:5e:00:00:01
MAC_LAN=02:00:5e:00:00:02

use_topology() {
    TOPOLOGY=$1
    case $TOPOLOGY in
        two-arm)
            NICS=(wan lan)
            SERVER_NIC=lan
            DIRECTOR_LAN=10.0.0.1
            ROUTER_LAN=10.0.0.254
            RS=(10.0.0.11 10.0.0.12 10.0.0.13)
            LOCALS=(10.0.0.101 10.0.0.102 10.0.0.103 10.0.0.104)
            ;;
        one-arm)
            NICS=(wan)
            SERVER_NIC=wan
            DIRECTOR_LAN=$DIRECTOR_WAN
            ROUTER_LAN=$ROUTER_WAN
            RS=(198.51.100.11 198.51.100.12 198.51.100.13)
            LOCALS=(198.51.100.201 198.51.100.202 198.51.100.203 198.51.100.204)
            ;;
        *)
            echo "no topology named '$TOPOLOGY'; there are two-arm and one-arm" >&2
            return 2
            ;;
    esac
}

# Sets PREFIX and the names that follow from it.
use_prefix() {
    PREFIX=$1
    if ! [[ $PREFIX =~ ^[a-z][a-z0-9]{0,15}$ ]]; then
        echo "prefix '$PREFIX' must be 1 to 16 lower-case letters and digits, a letter first" >&2
        return 2
    fi
    STATE=/run/pointsman-lab/$PREFIX
    CLIENT_NS=$PREFIX-client
    ROUTER_NS=$PREFIX-router
    DIRECTOR_NS=$PREFIX-director
    RS_NS=("$PREFIX-rs1" "$PREFIX-rs2" "$PREFIX-rs3")
    NAMESPACES=("$CLIENT_NS" "$ROUTER_NS" "$DIRECTOR_NS" "${RS_NS[@]}")
}

# Finds the topology of a lab that is up.
use_lab() {
    use_prefix "$1" || return
    if ! [[ -r $STATE/topology ]]; then
        echo "no lab '$PREFIX' is up; start one with: lab/net.sh up two-arm $PREFIX" >&2
        return 1
    fi
    use_topology "$(< "$STATE/topology")"
}
