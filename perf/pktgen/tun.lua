-- SPDX-License-Identifier: MIT OR Apache-2.0
-- TUN with one NIC: requests leave 20 bytes longer by the NIC they came by.
--
-- On the director: configs/tun.toml with configs/rules/tun.rules. On the generator, in this
-- repository (pktgen 22.04 or newer; its ports bound to vfio-pci):
--
--   WAN_MAC=aa:bb:cc:dd:ee:01 LAN_MAC=aa:bb:cc:dd:ee:02 FLOWS=20000 SIZE=64 \
--     pktgen -l 0-4 -n 4 -- -P -m "[1:2].0,[3:4].1" -f perf/pktgen/tun.lua

package.path = package.path .. ";?.lua;perf/pktgen/?.lua"
local traffic = require("traffic")

-- Add -A -u 192.0.2.3:53 -s rr and servers with -i. A 64-byte frame leaves as one of 84 bytes: the
-- rate out of the same NIC is at most (64 + 20) / (84 + 20) of the line.
traffic.requests("0", "udp", "192.0.2.3", 53)
traffic.open("0", "0")
traffic.no_drop_rate("0", "0")
