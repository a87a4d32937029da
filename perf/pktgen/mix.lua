-- SPDX-License-Identifier: MIT OR Apache-2.0
-- A mix of sizes (7 x 64, 4 x 570, 1 x 1518 bytes, FCS included) to the NAT service, as the sequence
-- mode of pktgen sends it: twelve frames of twelve clients, over and over.
--
-- On the director: configs/nat.toml with configs/rules/nat.rules. On the generator:
--
--   WAN_MAC=aa:bb:cc:dd:ee:01 pktgen -l 0-4 -n 4 -- -P -m "[1:2].0,[3:4].1" -f perf/pktgen/mix.lua

package.path = package.path .. ";?.lua;perf/pktgen/?.lua"
local traffic = require("traffic")

local SIZES = { 64, 570, 64, 64, 570, 64, 1518, 64, 570, 64, 64, 570 }

for number, size in ipairs(SIZES) do
    pktgen.seqTable(number - 1, "0", {
        ["eth_dst_addr"] = traffic.wan_mac,
        ["eth_src_addr"] = "02:00:00:00:00:99",
        ["ip_dst_addr"] = "192.0.2.1",
        ["ip_src_addr"] = "198.18.0." .. number .. "/32",
        ["sport"] = 10000 + number,
        ["dport"] = 53,
        ["ethType"] = "ipv4",
        ["ipProto"] = "udp",
        ["vlanid"] = 1,
        ["pktSize"] = size,
    })
end
pktgen.set("0", "seq_cnt", #SIZES)
traffic.open("0", "1")
traffic.no_drop_rate("0", "1")
