-- SPDX-License-Identifier: MIT OR Apache-2.0
-- Ranges of flows for DPDK pktgen: what each of the four modes, a flood and a mix of sizes need.
--
-- Not run by itself: the other files here load it. pktgen port 0 is the clients' side, port 1 (NAT
-- and FULLNAT) the servers' side. The addresses are those of configs/*.toml and their rules, with
-- clients in 198.18.0.0/15 (RFC 2544) behind the director's router. Set the director's MAC
-- addresses by the environment: WAN_MAC and LAN_MAC.
--
-- pktgen walks all its ranges in step, so flows come in order, not at random, and two ranges make
-- as many flows as the product of their lengths only where those share no factor: a client has
-- 49 999 ports, a prime number. FLOWS in the environment is their number. pktgen writes its frames
-- once, into its buffers, so that there are no more flows than buffers: 24 576 for each transmit
-- queue with the usual descriptors (22.04 to 23.03; newer ones: 8 times both rings, --txd and --rxd).
-- For a million flows use pointsman-blast. OPEN, STEP and HOLD in the environment are the seconds of
-- opening, of a step and of the last trial, RESOLUTION the percent of the line that a search ends at.

package.path = package.path .. ";?.lua;perf/pktgen/?.lua"

local traffic = {}

traffic.wan_mac = os.getenv("WAN_MAC") or "02:00:00:00:00:01"
traffic.lan_mac = os.getenv("LAN_MAC") or "02:00:00:00:00:02"
traffic.flows = tonumber(os.getenv("FLOWS") or "20000")
traffic.size = tonumber(os.getenv("SIZE") or "64")
traffic.open_s = tonumber(os.getenv("OPEN") or "20")
traffic.step_s = tonumber(os.getenv("STEP") or "10")
traffic.hold_s = tonumber(os.getenv("HOLD") or "60")
traffic.resolution = tonumber(os.getenv("RESOLUTION") or "0.25")

local PORTS_PER_CLIENT = 49999

local function walk(set, port, first, step, last)
    set(port, "start", first)
    set(port, "inc", step)
    set(port, "min", first)
    set(port, "max", last)
end

-- One value that never changes.
local function fixed(set, port, value, zero)
    walk(set, port, value, zero, value)
end

-- A client's ports, and as many clients as make the flows.
local function clients()
    local ports = math.min(traffic.flows, PORTS_PER_CLIENT)
    local addresses = math.max(1, math.ceil(traffic.flows / ports))
    assert(addresses <= 250, "at most 12.5 million flows")
    return ports, addresses
end

-- Frames from many clients to one VIP.
function traffic.requests(port, protocol, vip, vport)
    local ports, addresses = clients()
    pktgen.set_type(port, "ipv4")
    pktgen.set_proto(port, protocol)
    pktgen.range.ip_proto(port, protocol)
    pktgen.range.dst_mac(port, "start", traffic.wan_mac)
    walk(pktgen.range.src_ip, port, "198.18.0.1", "0.0.0.1", "198.18.0." .. addresses)
    fixed(pktgen.range.dst_ip, port, vip, "0.0.0.0")
    walk(pktgen.range.src_port, port, 10000, 1, 10000 + ports - 1)
    fixed(pktgen.range.dst_port, port, vport, 0)
    fixed(pktgen.range.ttl, port, 64, 0)
    traffic.sized(port, traffic.size)
    pktgen.set_range(port, "on")
end

-- The answers of one server to the same clients (NAT), in the same order.
function traffic.replies(port, protocol, server, sport)
    local ports, addresses = clients()
    pktgen.set_type(port, "ipv4")
    pktgen.set_proto(port, protocol)
    pktgen.range.ip_proto(port, protocol)
    pktgen.range.dst_mac(port, "start", traffic.lan_mac)
    fixed(pktgen.range.src_ip, port, server, "0.0.0.0")
    walk(pktgen.range.dst_ip, port, "198.18.0.1", "0.0.0.1", "198.18.0." .. addresses)
    fixed(pktgen.range.src_port, port, sport, 0)
    walk(pktgen.range.dst_port, port, 10000, 1, 10000 + ports - 1)
    fixed(pktgen.range.ttl, port, 64, 0)
    traffic.sized(port, traffic.size)
    pktgen.set_range(port, "on")
end

-- Frames of one size, FCS included.
function traffic.sized(port, bytes)
    pktgen.set(port, "size", bytes)
    fixed(pktgen.range.pkt_size, port, bytes, 0)
end

-- Sends `seconds` at `percent` of the line; returns frames sent and frames that came back.
function traffic.trial(senders, receivers, percent, seconds)
    pktgen.clr()
    pktgen.set(senders, "count", 0)
    pktgen.set(senders, "rate", percent)
    pktgen.start(senders)
    pktgen.delay(seconds * 1000)
    pktgen.stop(senders)
    pktgen.delay(2000)
    local stats = pktgen.portStats("all", "port")
    local sent, came = 0, 0
    for port in senders:gmatch("%d+") do
        sent = sent + stats[tonumber(port)].opackets
    end
    for port in receivers:gmatch("%d+") do
        came = came + stats[tonumber(port)].ipackets
    end
    return sent, came
end

-- Sends each flow for the first time, slowly: at a twentieth of the line.
function traffic.open(senders, receivers)
    local sent, came = traffic.trial(senders, receivers, 5, traffic.open_s)
    print(string.format("opening: %d sent, %d lost", sent, sent - came))
end

-- RFC 2544 section 26.1: the highest rate at which no frame is lost, by halving; the whole line is
-- tried first, and the rate found is shown to hold. Where pktgen is slower than the percents say,
-- the Mpps tell.
function traffic.no_drop_rate(senders, receivers)
    local low, high, percent = 0, 100, 100
    while high - low > traffic.resolution do
        local sent, came = traffic.trial(senders, receivers, percent, traffic.step_s)
        print(string.format("%6.2f %%: %.3f Mpps, %d sent, %d lost", percent,
            sent / traffic.step_s / 1e6, sent, sent - came))
        if came >= sent and sent > 0 then low = percent else high = percent end
        percent = (low + high) / 2
    end
    if low == 0 then
        print("no rate without loss was found; is the director up, and are the MAC addresses its own?")
        return
    end
    local sent, came = traffic.trial(senders, receivers, low, traffic.hold_s)
    print(string.format("no-drop rate %.2f %% of the line: %.3f Mpps, %d lost in %d s",
        low, sent / traffic.hold_s / 1e6, sent - came, traffic.hold_s))
end

return traffic
