-- SPDX-License-Identifier: MIT OR Apache-2.0
-- FULLNAT: requests on port 0, received on port 1 with a local address.
--
-- On the director: configs/fullnat.toml with configs/rules/fullnat.rules. On the generator, in this
-- repository (pktgen 22.04 or newer; its ports bound to vfio-pci):
--
--   WAN_MAC=aa:bb:cc:dd:ee:01 LAN_MAC=aa:bb:cc:dd:ee:02 FLOWS=20000 SIZE=64 \
--     pktgen -l 0-4 -n 4 -- -P -m "[1:2].0,[3:4].1" -f perf/pktgen/fullnat.lua

package.path = package.path .. ";?.lua;perf/pktgen/?.lua"
local traffic = require("traffic")

-- TCP as pktgen makes it carries ACK; connections open by SYN only. So these are UDP: add
--   -A -u 192.0.2.2:53 -s rr
--   -P -u 192.0.2.2:53 -z 10.0.0.101     (and more: 64 000 connections per address and server)
--   -a -u 192.0.2.2:53 -r 10.0.0.11:53 -b
traffic.requests("0", "udp", "192.0.2.2", 53)
traffic.open("0", "1")
traffic.no_drop_rate("0", "1")
