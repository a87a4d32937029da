#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes this machine a real server for IP-in-IP tunnelling (ipvsadm -i), or undoes that.
#
#   tun.sh up VIP [VIP...]
#   tun.sh down VIP [VIP...]
#
# The director wraps a request in a second IP header addressed to this machine: IPv4 in IPv4
# (RFC 2003) is unwrapped by tunl0, IPv6 in IPv6 (RFC 2473) by ip6tnl0. Where the kernel has no such
# module, and where VIP and server differ in family, a small tc program on DEV does it, the
# interface that requests come in by (default: that of the default route); compile it beside
# this script with
#
#   clang -O2 -g -target bpf -I/usr/include/$(uname -m)-linux-gnu -c decap.bpf.c -o decap.bpf.o
#
# DECAP=FILE names it elsewhere, UNWRAP=tunl0|ip6tnl0|tc chooses by hand. Replies go to the client
# without the director; GATEWAY=ADDRESS and GATEWAY6 as in dr.sh. Leave the MTU alone: the director
# tells clients that their packets must be 20 or 40 bytes smaller.
set -eu
. "$(dirname "$0")/steps.sh"
begin 'VIP [VIP...]' "$@"
shift
[ $# -gt 0 ] || die "name at least one VIP"
DECAP=${DECAP:-$(dirname "$0")/decap.bpf.o}
default_device() {
    ip "$1" route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1
}
DEV=${DEV:-$(default_device -4)}
DEV=${DEV:-$(default_device -6)}

# unwrap_with VIP
unwrap_with() {
    if [ -n "${UNWRAP-}" ]; then
        echo "$UNWRAP"
        return
    fi
    case $(family_of "$1") in
        -6) module=ip6_tunnel device=ip6tnl0 ;;
        *) module=ipip device=tunl0 ;;
    esac
    modprobe -q "$module" 2>/dev/null || true
    if [ -d "/proc/sys/net/ipv4/conf/$device" ]; then echo "$device"; else echo tc; fi
}

# A wrapped request comes from the client's address by a way that leads nowhere back: loose
# reverse-path filtering on tunl0 accepts it and leaves other interfaces as strict as they are.
prepare_tunl0() {
    ip link set tunl0 up
    set_kernel net.ipv4.conf.tunl0.rp_filter 2
}

prepare_tc() {
    [ ! -f "$STATE_DIR/tc" ] || return 0
    [ -n "$DEV" ] || die "no default route to find the interface by: set DEV=INTERFACE"
    [ -r "$DECAP" ] || die "no ipip in this kernel and no $DECAP: compile it (see $0)"
    qdisc=kept
    if ! tc qdisc show dev "$DEV" | grep -q clsact; then
        tc qdisc add dev "$DEV" clsact
        qdisc=added
    fi
    tc filter replace dev "$DEV" ingress protocol all pref 4 handle 1 \
        bpf direct-action object-file "$DECAP" section tc
    echo "$DEV $qdisc" > "$STATE_DIR/tc"
}

# The tc program serves all VIPs, so it goes with the last of them.
end_tc() {
    [ -f "$STATE_DIR/tc" ] || return 0
    [ -z "$(find "$STATE_DIR/users" -name 'tun-*' ! -name "tun-$1")" ] || return 0
    read -r dev qdisc < "$STATE_DIR/tc"
    tc filter del dev "$dev" ingress protocol all pref 4 2>/dev/null || true
    if [ "$qdisc" = added ]; then
        tc qdisc del dev "$dev" clsact 2>/dev/null || true
    fi
    rm -f "$STATE_DIR/tc"
}

for vip; do
    if [ "$verb" = up ]; then
        note "tun-$vip" vip
        hide_vips_from_arp
        case $(unwrap_with "$vip") in
            tunl0)
                prepare_tunl0
                add_vip "tun-$vip" "$vip" tunl0
                ;;
            ip6tnl0)
                ip link set ip6tnl0 up
                add_vip "tun-$vip" "$vip" lo
                ;;
            *)
                prepare_tc
                add_vip "tun-$vip" "$vip" lo
                ;;
        esac
        add_reply_route "tun-$vip" "$vip"
    else
        remove_reply_route "tun-$vip" "$vip"
        end_tc "$vip"
        remove_vip "tun-$vip" "$vip" lo
        remove_vip "tun-$vip" "$vip" tunl0
        forget "tun-$vip"
    fi
done
