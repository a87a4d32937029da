#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Shows Pointsman at work: a lab, a director, one service for each forwarding mode, real pages.
#
#   lab/demo.sh          ends with "NAT ok", "FULLNAT ok", "TUN ok", "DR ok" and leaves nothing
#   KEEP=1 lab/demo.sh   leaves it running and says how to play with it
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=topology.sh
. "$here/topology.sh"
use_topology two-arm
use_prefix demo
pointsman=${POINTSMAN:-${CARGO_TARGET_DIR:-$here/../target}/release/pointsman}
requests=6
failed=0

say() {
    printf '\n== %s\n' "$*"
}

# What the director might leave behind on the host: its files, and the folder that DPDK made.
traces() {
    find /run/pointsman /run/dpdk /dev/hugepages /dev/shm -name "*pointsman-$director_pid*" \
        2>/dev/null || true
    if [[ $dpdk_folder_before == no ]]; then
        find /run/dpdk -maxdepth 0 -empty 2>/dev/null || true
    fi
}

clean_up() {
    local status=$? left
    trap - EXIT
    "$here/net.sh" down "$PREFIX" || status=1
    "$here/net.sh" check-clean "$PREFIX" || status=1
    left=$(traces)
    if [[ -n $left ]]; then
        printf 'the demo left files behind:\n%s\n' "$left" >&2
        status=1
    fi
    exit "$status"
}

in_client() {
    ip netns exec "$CLIENT_NS" "$@"
}

build() {
    if [[ -z ${POINTSMAN-} ]]; then
        say "Building"
        (cd "$here/.." && cargo build --release -p appliance)
    fi
}

# "ipvsadm" is a link to the program; POINTSMAN_SOCKET says which director it talks to.
make_ipvsadm() {
    mkdir "$STATE/bin"
    ln -s "$(readlink -f "$pointsman")" "$STATE/bin/ipvsadm"
    export PATH=$STATE/bin:$PATH POINTSMAN_SOCKET=$STATE/control.sock
}

ipvs() {
    echo "# ipvsadm $*"
    ipvsadm "$@"
}

# add_service VIP PORT SERVER-PORT OPTION
add_service() {
    local server
    ipvs -A -t "$1:$2" -s rr
    if [[ $4 == -b ]]; then
        ipvs -P -t "$1:$2" -z "${LOCALS[0]}"
    fi
    for server in "${RS[@]}"; do
        ipvs -a -t "$1:$2" -r "$server:$3" "$4"
    done
}

load_rules() {
    say "Rules, as for the kernel's IPVS; FULLNAT adds -b and -P -z"
    add_service "$VIP_NAT" 80 8080 -m
    add_service "$VIP_FULLNAT" 80 8080 -b
    add_service "$VIP_TUN" 80 80 -i
    add_service "$VIP_DR" 80 80 -g
}

start_capture() {
    local nic
    captures=()
    for nic in "${NICS[@]}"; do
        ip netns exec "$DIRECTOR_NS" tcpdump -n -U --immediate-mode -Z root -i "$nic-nic" \
            -w "$STATE/$nic.pcap" ip 2>"$STATE/$nic.tcpdump" &
        captures+=($!)
    done
    for nic in "${NICS[@]}"; do
        until grep -q 'listening on' "$STATE/$nic.tcpdump"; do
            kill -0 "${captures[@]}"
            sleep 0.05
        done
    done
}

stop_capture() {
    kill "${captures[@]}"
    wait "${captures[@]}" || true
}

# first_frame NIC EXPRESSION: the first frame of a capture that matches, or failure.
first_frame() {
    tcpdump -n -e -t -v -c 1 -r "$STATE/$1.pcap" "$2" 2>/dev/null | grep .
}

# show_request VIP EXPRESSION: one request as it came in, and as it went out.
show_request() {
    echo "in:  $(first_frame wan "tcp[tcpflags] == tcp-syn and dst host $1")"
    echo "out: $(first_frame lan "$2")"
}

# try_mode NAME VIP EXPRESSION: fetches pages; EXPRESSION finds the request on its way out.
try_mode() {
    local name=$1 vip=$2 pages servers
    say "$name: $requests pages from http://$vip/ (server, client as it sees it, address asked)"
    start_capture
    pages=$(in_client curl -sS --fail --max-time 10 "http://$vip/?[1-$requests]") || true
    stop_capture
    echo "$pages"
    servers=$(cut -d' ' -f1 <<< "$pages" | sort | uniq -c | awk '{ print $2 ":" $1 }' | xargs)
    if show_request "$vip" "$3" && [[ $servers == "rs1:2 rs2:2 rs3:2" ]]; then
        verdicts+=("$name ok")
    else
        verdicts+=("$name failed (${servers:-no answer})")
        failed=1
    fi
}

try_modes() {
    local syn='tcp[tcpflags] == tcp-syn'
    verdicts=()
    try_mode NAT "$VIP_NAT" "$syn and src host $CLIENT and dst port 8080"
    try_mode FULLNAT "$VIP_FULLNAT" "$syn and src host ${LOCALS[0]} and dst port 8080"
    try_mode TUN "$VIP_TUN" "ip proto 4"
    try_mode DR "$VIP_DR" "$syn and dst host $VIP_DR"
}

keep_running() {
    trap - EXIT
    say "Left running. Play with it:"
    cat <<HELP
export PATH=$STATE/bin:\$PATH POINTSMAN_SOCKET=$STATE/control.sock
ipvsadm -L -n --stats                                  the services and their counters
ipvsadm --drops                                        what was dropped, why, what to do
ip netns exec $CLIENT_NS curl http://$VIP_NAT/        fetch a page as the client
ip netns exec $DIRECTOR_NS ip addr                    the director's host interfaces
lab/net.sh down $PREFIX                                  end it all
HELP
}

if [[ $(id -u) -ne 0 ]]; then
    echo "the demo needs root: it makes network namespaces" >&2
    exit 1
fi
"$here/net.sh" check-clean "$PREFIX" \
    || { echo "an earlier demo is still there: lab/net.sh down $PREFIX" >&2; exit 1; }
director_pid=none
dpdk_folder_before=$([[ -d /run/dpdk ]] && echo yes || echo no)
build
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
say "Building the lab: client, router, director, three real servers"
BIG_MB=1 "$here/net.sh" up two-arm "$PREFIX"
BIG_MB=1 "$here/servers.sh" up "$PREFIX"
"$here/director.sh" start "$PREFIX"
director_pid=$(< "$STATE/director.pid")
"$here/director.sh" address "$PREFIX"
make_ipvsadm
load_rules
try_modes
say "The listing, with live counters"
ipvs -L -n --stats
say "Result"
printf '%s\n' "${verdicts[@]}"
if [[ ${KEEP-} == 1 ]]; then
    keep_running
fi
exit "$failed"
