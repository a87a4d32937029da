# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=sh
# Steps that the set-up scripts beside this file share. Sourced, not run.
#
# What was changed is noted under STATE_DIR, so that "down" undoes that and nothing else: an
# address that was there before stays, and kernel settings get their old values back when the
# last VIP is gone.

STATE_DIR=${STATE_DIR:-/run/pointsman-real-server}
# Routing table for replies of a VIP, and the preferences of the two rules that lead to it.
TABLE=${TABLE:-192}
RULE=${RULE:-20000}

die() {
    echo "$0: $*" >&2
    exit 1
}

# begin WHAT ARGUMENTS...: checks the command line and leaves the verb in $verb.
begin() {
    verb=${2-}
    case $verb in
        up | down) ;;
        *) echo "usage: $0 up|down $1" >&2; exit 2 ;;
    esac
    [ "$(id -u)" -eq 0 ] || die "needs root: it changes addresses and kernel settings"
}

# The address family of an address, as ip takes it.
family_of() {
    case $1 in *:*) echo -6 ;; *) echo -4 ;; esac
}

# A user is MODE-VIP; its file lists the words for what "down" has to undo.
user_file() {
    echo "$STATE_DIR/users/$1"
}

note() {
    mkdir -p "$STATE_DIR/users"
    touch "$(user_file "$1")"
    grep -qxF -- "$2" "$(user_file "$1")" || echo "$2" >> "$(user_file "$1")"
}

noted() {
    [ -f "$(user_file "$1")" ] && grep -qxF -- "$2" "$(user_file "$1")"
}

# Sets a kernel setting and remembers its value from before the first change.
set_kernel() {
    mkdir -p "$STATE_DIR"
    if ! grep -qs "^$1 " "$STATE_DIR/kernel"; then
        echo "$1 $(sysctl -n "$1")" >> "$STATE_DIR/kernel"
    fi
    sysctl -qw "$1=$2"
}

# Forgets a user; the last one to go gives the kernel settings their old values back.
forget() {
    rm -f "$(user_file "$1")"
    if [ -d "$STATE_DIR/users" ] && ! rmdir "$STATE_DIR/users" 2>/dev/null; then
        return
    fi
    if [ -f "$STATE_DIR/kernel" ]; then
        while read -r key value; do
            sysctl -qw "$key=$value" 2>/dev/null || true
        done < "$STATE_DIR/kernel"
    fi
    rm -rf "${STATE_DIR:?}"
}

# Answers ARP only for addresses of the interface that was asked, and never names a VIP as the
# asker: else the server takes the VIP away from the director.
hide_vips_from_arp() {
    set_kernel net.ipv4.conf.all.arp_ignore 1
    set_kernel net.ipv4.conf.all.arp_announce 2
}

# add_vip USER VIP INTERFACE
add_vip() {
    if [ -z "$(ip "$(family_of "$2")" -o addr show dev "$3" to "$2")" ]; then
        ip addr add "$2" dev "$3"
        note "$1" "address $3"
    fi
}

remove_vip() {
    if noted "$1" "address $3"; then
        ip "$(family_of "$2")" addr del "$2" dev "$3" 2>/dev/null || true
    fi
}

# With GATEWAY set (GATEWAY6 for IPv6), replies from a VIP leave by that router, whatever the
# default route is; what is on a connected network still goes there directly.
add_reply_route() {
    family=$(family_of "$2")
    case $family in -6) gateway=${GATEWAY6-} ;; *) gateway=${GATEWAY-} ;; esac
    [ -n "$gateway" ] || return 0
    ip "$family" route replace default via "$gateway" table "$TABLE"
    noted "$1" rules && return
    ip "$family" rule add from "$2" pref "$RULE" lookup main suppress_prefixlength 0
    ip "$family" rule add from "$2" pref "$((RULE + 1))" lookup "$TABLE"
    note "$1" rules
}

remove_reply_route() {
    noted "$1" rules || return 0
    family=$(family_of "$2")
    ip "$family" rule del from "$2" pref "$RULE" 2>/dev/null || true
    ip "$family" rule del from "$2" pref "$((RULE + 1))" 2>/dev/null || true
    if [ -z "$(ip "$family" rule show pref "$((RULE + 1))")" ]; then
        ip "$family" route flush table "$TABLE"
    fi
}
