# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash disable=SC2034
# Names and addresses of the lab, for the scripts beside this file to source.
#
# use_topology two-arm|one-arm sets the variables below; README.md has the picture.
# Prefixes: 198.51.100.0/24 client segment, 10.0.0.0/24 server segment, 192.0.2.0/24 VIPs,
# 203.0.113.0/24 clients beyond the router. Everything has an IPv6 address besides, with the same
# last part: 2001:db8:51::/64, 2001:db8:10::/64, 2001:db8:c::/64, 2001:db8:71::/64.

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
CLIENT_EXTRA=198.51.100.
CLIENT_EXTRA_FIRST=64
CLIENT_EXTRA_MAX=128
FAR_CLIENT=203.0.113.10
FAR_ROUTER=203.0.113.254
ROUTER_WAN=198.51.100.254
DIRECTOR_WAN=198.51.100.1

VIP6_NAT=2001:db8:c::1
VIP6_FULLNAT=2001:db8:c::2
VIP6_TUN=2001:db8:c::3
VIP6_DR=2001:db8:c::4
VIP6_MIXED=2001:db8:c::5
VIP6_IDLE=2001:db8:c::6
VIPS6=("$VIP6_NAT" "$VIP6_FULLNAT" "$VIP6_TUN" "$VIP6_DR" "$VIP6_MIXED" "$VIP6_IDLE")
VIP6_PREFIX=2001:db8:c::/64
# Serve clients of their own family by servers of the other one, through tunnels.
VIP_CROSS=192.0.2.7
VIP6_CROSS=2001:db8:c::7
VIPS+=("$VIP_CROSS")
VIPS6+=("$VIP6_CROSS")

CLIENT6=2001:db8:51::10
CLIENT6_EXTRA=2001:db8:51::
FAR_CLIENT6=2001:db8:71::10
FAR_ROUTER6=2001:db8:71::254
ROUTER6_WAN=2001:db8:51::254
DIRECTOR6_WAN=2001:db8:51::1

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
            DIRECTOR6_LAN=2001:db8:10::1
            ROUTER6_LAN=2001:db8:10::254
            RS6=(2001:db8:10::11 2001:db8:10::12 2001:db8:10::13)
            LOCALS6=(2001:db8:10::101 2001:db8:10::102 2001:db8:10::103 2001:db8:10::104)
            ;;
        one-arm)
            NICS=(wan)
            SERVER_NIC=wan
            DIRECTOR_LAN=$DIRECTOR_WAN
            ROUTER_LAN=$ROUTER_WAN
            RS=(198.51.100.11 198.51.100.12 198.51.100.13)
            LOCALS=(198.51.100.201 198.51.100.202 198.51.100.203 198.51.100.204)
            DIRECTOR6_LAN=$DIRECTOR6_WAN
            ROUTER6_LAN=$ROUTER6_WAN
            RS6=(2001:db8:51::11 2001:db8:51::12 2001:db8:51::13)
            LOCALS6=(2001:db8:51::201 2001:db8:51::202 2001:db8:51::203 2001:db8:51::204)
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

# What packets on the segment of a NIC may measure: JUMBO names those with large ones.
mtu_of() {
    case " ${JUMBO-} " in
        *" $1 "*) echo 9000 ;;
        *) echo 1500 ;;
    esac
}
