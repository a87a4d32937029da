#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes this machine a real server for NAT (ipvsadm -m), or undoes that.
#
#   nat.sh up DIRECTOR [DIRECTOR-IPV6]
#   nat.sh down
#
# The director changes the destination of requests and has to see every reply to change it back:
# the way from here to the clients must lead through it. DIRECTOR is its address in this machine's
# network (with a pair of directors, the one that VRRP moves). Clients in this network would
# be answered directly and never reach the service; use FULLNAT for them.
set -eu
. "$(dirname "$0")/steps.sh"
begin 'DIRECTOR [DIRECTOR-IPV6]' "$@"
shift
before=$STATE_DIR/default-route

if [ "$verb" = up ]; then
    [ $# -gt 0 ] || die "name the director's address: $0 up DIRECTOR"
    for director; do
        family=$(family_of "$director")
        note nat "$family"
        [ -f "$before$family" ] || ip "$family" route show default | head -n 1 > "$before$family"
        ip "$family" route replace default via "$director"
    done
else
    for family in -4 -6; do
        noted nat "$family" || continue
        ip "$family" route del default 2>/dev/null || true
        if [ -s "$before$family" ]; then
            # Unquoted: the line is the arguments of "ip route", as "ip route show" printed them.
            # shellcheck disable=SC2046
            ip "$family" route add $(cat "$before$family")
        fi
        rm -f "$before$family"
    done
    forget nat
fi
