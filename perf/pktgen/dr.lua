-- SPDX-License-Identifier: MIT OR Apache-2.0
-- DR with one NIC: requests leave by the NIC they came by; the generator is client and servers.
--
-- On the director: configs/dr.toml with configs/rules/dr.rules. On the generator, in this
-- repository (pktgen 22.04 or newer; its ports bound to vfio-pci):
--
--   WAN_MAC=aa:bb:cc:dd:ee:01 LAN_MAC=aa:bb:cc:dd:ee:02 FLOWS=20000 SIZE=64 \
--     pktgen -l 0-4 -n 4 -- -P -m "[1:2].0,[3:4].1" -f perf/pktgen/dr.lua

package.path = package.path .. ";?.lua;perf/pktgen/?.lua"
local traffic = require("traffic")

-- Add -A -u 192.0.2.4:53 -s rr and servers with -g; the servers are neighbours of the wan NIC:
--   ip neigh replace 198.51.100.11 lladdr GENERATOR_MAC dev wan nud permanent
traffic.requests("0", "udp", "192.0.2.4", 53)
traffic.open("0", "0")
traffic.no_drop_rate("0", "0")
