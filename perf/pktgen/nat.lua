-- SPDX-License-Identifier: MIT OR Apache-2.0
-- NAT: requests on port 0; answers of the servers on port 1 once the connections stand.
--
-- On the director: configs/nat.toml with configs/rules/nat.rules. On the generator, in this
-- repository (pktgen 22.04 or newer; its ports bound to vfio-pci):
--
--   WAN_MAC=aa:bb:cc:dd:ee:01 LAN_MAC=aa:bb:cc:dd:ee:02 FLOWS=20000 SIZE=64 \
--     pktgen -l 0-4 -n 4 -- -P -m "[1:2].0,[3:4].1" -f perf/pktgen/nat.lua

package.path = package.path .. ";?.lua;perf/pktgen/?.lua"
local traffic = require("traffic")

-- The request makes the connection; UDP stays in its one state, so one pass is enough.
traffic.requests("0", "udp", "192.0.2.1", 53)
traffic.open("0", "1")
traffic.no_drop_rate("0", "1")

-- Both ways: the answers of the first server. Those of flows that went to the other server are for
-- no connection and go to the host: load the rules with one server before this one.
traffic.replies("1", "udp", "10.0.0.11", 53)
traffic.no_drop_rate("0,1", "0,1")
