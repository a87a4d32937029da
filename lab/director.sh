#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The director of a lab that is up.
#
#   lab/director.sh start PREFIX [WORKERS [QUEUES [CAPACITY]]]   until it answers, wired
#   lab/director.sh address PREFIX                               addresses for a first start
#   lab/director.sh stop PREFIX [SIGNAL]                         and wait for its end
#
# POINTSMAN names the program; the default is target/release/pointsman of this checkout.
# "address" does what an operator does once: VIPs and local addresses on the host interfaces, a
# default route. They outlive the director, so a second start needs no "address".
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=topology.sh
. "$here/topology.sh"
pointsman=${POINTSMAN:-${CARGO_TARGET_DIR:-$here/../target}/release/pointsman}

usage() {
    sed -n '5,7s/^# *//p' "$0" >&2
    exit 2
}

# A process that nobody waited for is listed as ended (Z); it has let go of its NICs and its
# socket only when its last thread has ended too.
running() {
    local status
    [[ -r $STATE/director.pid ]] || return 1
    status=$(cat "/proc/$(< "$STATE/director.pid")/status" 2>/dev/null) || return 1
    ! [[ $status =~ State:[[:space:]]*[ZX].*Threads:[[:space:]]*[01]$'\n' ]]
}

start() {
    if running; then
        echo "the director of '$PREFIX' is running: $(< "$STATE/director.pid")" >&2
        exit 1
    fi
    "$here/config.sh" "$TOPOLOGY" "$PREFIX" "$@" > "$STATE/pointsman.toml"
    touch "$STATE/saved.rules"
    ip netns exec "$DIRECTOR_NS" "$pointsman" run --config "$STATE/pointsman.toml" \
        </dev/null >"$STATE/director.log" 2>&1 &
    echo $! > "$STATE/director.pid"
    await_answer
    local nic
    for nic in "${NICS[@]}"; do
        if [[ -z ${JUMBO-} ]]; then
            wire "$nic"
        fi
        ip -n "$DIRECTOR_NS" link set "$nic" up
        ip netns exec "$DIRECTOR_NS" sysctl -qw "net.ipv6.conf.$nic.disable_ipv6=0"
    done
}

await_answer() {
    local deadline=$((SECONDS + 30))
    until "$pointsman" ctl --socket "$STATE/control.sock" -L -n >/dev/null 2>&1; do
        if ! running || ((SECONDS >= deadline)); then
            echo "the director does not answer on $STATE/control.sock; its log ends:" >&2
            tail -n 20 "$STATE/director.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# Puts the kernel's side of a NIC's tap into its bridge. A bridge keeps frames that are addressed
# to one of its ports, so that side must not have the NIC's MAC address.
wire() {
    local tap=$1-nic
    ip netns exec "$DIRECTOR_NS" sysctl -qw "net.ipv6.conf.$tap.disable_ipv6=1"
    ip -n "$DIRECTOR_NS" link set "$tap" down
    ip -n "$DIRECTOR_NS" link set "$tap" arp off master "br-$1" \
        address "02:00:5e:00:02:0$((1 + $(index_of "$1")))"
    ip -n "$DIRECTOR_NS" link set "$tap" up
}

index_of() {
    local index
    for index in "${!NICS[@]}"; do
        if [[ ${NICS[index]} == "$1" ]]; then
            echo "$index"
        fi
    done
}

address() {
    local vip local_address
    {
        echo "addr replace $DIRECTOR_WAN/24 dev wan"
        echo "addr replace $DIRECTOR6_WAN/64 dev wan"
        if [[ $TOPOLOGY == two-arm ]]; then
            echo "addr replace $DIRECTOR_LAN/24 dev lan"
            echo "addr replace $DIRECTOR6_LAN/64 dev lan"
        fi
        for vip in "${VIPS[@]}" "${VIPS6[@]}"; do
            echo "addr replace $vip dev wan"
        done
        for local_address in "${LOCALS[@]}" "${LOCALS6[@]}"; do
            echo "addr replace $local_address dev $SERVER_NIC"
        done
        echo "route replace default via $ROUTER_WAN dev wan"
        echo "route replace default via $ROUTER6_WAN dev wan"
    } | ip -n "$DIRECTOR_NS" -batch -
}

stop() {
    local signal=${1:-TERM} deadline=$((SECONDS + 15))
    if ! running; then
        echo "no director of '$PREFIX' is running" >&2
        exit 1
    fi
    kill "-$signal" "$(< "$STATE/director.pid")"
    while running; do
        if ((SECONDS >= deadline)); then
            echo "the director does not end within 15 s of SIG$signal" >&2
            exit 1
        fi
        sleep 0.1
    done
    rm -f "$STATE/director.pid"
}

(($# >= 2)) || usage
verb=$1
use_lab "$2"
shift 2
case $verb in
    start) start "$@" ;;
    address) address ;;
    stop) stop "$@" ;;
    *) usage ;;
esac
