#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Prints the director's configuration for a lab.
#
#   lab/config.sh two-arm|one-arm PREFIX [WORKERS [QUEUES [CAPACITY]]]
#
# In the environment HUGEPAGES (off, on, auto), LOCAL_PORTS (FIRST-LAST), OWNER (hash, landing)
# and LAN_MTU (bytes) change further keys; RSS (what each NIC is set to hash, in their order) and
# RSS_KEY say how the taps choose queues.
# The DPDK NICs are taps named NIC-nic in the director's namespace, which director.sh puts into
# the bridges, or with JUMBO (see net.sh) the ends of cables, named NIC-dpdk. Addresses are given
# to the host interfaces with "ip addr", as an operator would.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=topology.sh
. "$here/topology.sh"
use_topology "${1-}"
use_prefix "${2-}"
workers=${3:-1}
queues=${4:-1}
capacity=${5:-65536}
rss_key=${RSS:+rss_key = \"$RSS_KEY\"}

cat <<TOML
# Lab "$PREFIX", $TOPOLOGY.
[eal]
hugepages = "${HUGEPAGES:-off}"
memory_mb = 256

[workers]
count = $workers
idle = 50
owner = "${OWNER:-hash}"
$rss_key
[connections]
capacity = $capacity

[control]
socket = "$STATE/control.sock"

[metrics]
listen = "$METRICS"

[rules]
file = "$STATE/saved.rules"
persist = true
TOML

if [[ -n ${LOCAL_PORTS-} ]]; then
    printf '\n[local_ports]\nrange = "%s"\n' "$LOCAL_PORTS"
fi

read -ra rss <<< "${RSS-}"
number=0
for nic in "${NICS[@]}"; do
    mac=MAC_${nic^^}
    cat <<TOML

[[nic]]
name = "$nic"
queues = $queues
host_interface = "$nic"
TOML
    if [[ -n ${JUMBO-} ]]; then
        echo "device = \"net_pcap$number,iface=$nic-dpdk,phy_mac=1\""
        echo "mtu = $(mtu_of "$nic")"
    else
        echo "device = \"net_tap$number,iface=$nic-nic\""
        echo "mac = \"${!mac}\""
    fi
    if [[ -z ${JUMBO-} && $nic == lan ]]; then
        echo "mtu = ${LAN_MTU:-1500}"
    fi
    if [[ -n ${rss[number]-} ]]; then
        printf 'rss = "%s"\nrss_preset = true\n' "${rss[number]}"
    fi
    number=$((number + 1))
done
