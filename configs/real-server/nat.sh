#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes this machine a real server for NAT (ipvsadm -m), or undoes that.
#
#   nat.sh up DIRECTOR
#   nat.sh down
#
# The director changes the destination of requests and has to see every reply to change it back:
# the way from here to the clients must lead through it. DIRECTOR is its address in this machine's
# network (with a pair of directors, the one that VRRP moves). Clients in this network would
# be answered directly and never reach the service; use FULLNAT for them.
set -eu
. "$(dirname "$0")/steps.sh"
begin 'DIRECTOR' "$@"
before=$STATE_DIR/default-route

if [ "$verb" = up ]; then
    [ $# -eq 2 ] || die "name the director's address: $0 up DIRECTOR"
    note nat route
    [ -f "$before" ] || ip -4 route show default | head -n 1 > "$before"
    ip route replace default via "$2"
elif noted nat route; then
    ip route del default 2>/dev/null || true
    if [ -s "$before" ]; then
        # Unquoted: the line is the arguments of "ip route", as "ip route show" printed them.
        # shellcheck disable=SC2046
        ip route add $(cat "$before")
    fi
    rm -f "$before"
    forget nat
fi
