-- SPDX-License-Identifier: MIT OR Apache-2.0
-- pktgen for a test: takes the functions that the scripts use with as many arguments as pktgen 23.03
-- does, prints each call, and plays a director that carries CAPACITY percent of the line and sends
-- what port N sent out where the digit N of ARRIVES says.
--
--   CAPACITY=40 ARRIVES=10 lua5.3 stand_in.lua SCRIPT

local FRAMES_PER_PERCENT = 1000
local capacity = tonumber(os.getenv("CAPACITY"))
local arrives = os.getenv("ARRIVES")
local rate, sent, came = {}, {}, {}

local function each(ports, act)
    for port in ports:gmatch("%d+") do act(tonumber(port)) end
end

local act = {
    set = function(ports, what, value)
        if what == "rate" then
            assert(value > 0 and value <= 100, "a rate is a percentage above 0")
            each(ports, function(port) rate[port] = value end)
        end
    end,
    clr = function() sent, came = {}, {} end,
    start = function(ports)
        each(ports, function(port)
            local at = tonumber(arrives:sub(port + 1, port + 1))
            sent[port] = math.floor(rate[port] * FRAMES_PER_PERCENT)
            came[at] = (came[at] or 0)
                + math.floor(math.min(rate[port], capacity) * FRAMES_PER_PERCENT)
        end)
    end,
    portStats = function(_, kind)
        assert(kind == "port", "totals are of the kind \"port\"")
        local stats = { n = 2 }
        for port = 0, 1 do
            stats[port] = { opackets = sent[port] or 0, ipackets = came[port] or 0 }
        end
        return stats
    end,
}

-- A table of functions by their numbers of arguments; any other name is an error.
local function functions(prefix, counts)
    return setmetatable({}, { __index = function(_, name)
        local count = assert(counts[name], "pktgen has no function " .. prefix .. name)
        if type(count) == "table" then return count end
        return function(...)
            local given = { ... }
            assert(#given == count, prefix .. name .. " takes " .. count .. " arguments")
            local words = {}
            for place, word in ipairs(given) do words[place] = tostring(word) end
            print("call " .. prefix .. name .. " " .. table.concat(words, " "))
            return act[name] and act[name](...)
        end
    end })
end

local RANGE = {
    dst_mac = 3, src_ip = 3, dst_ip = 3, src_port = 3, dst_port = 3, ttl = 3, pkt_size = 3,
    ip_proto = 2,
}

pktgen = functions("", {
    set = 3, set_type = 2, set_proto = 2, set_range = 2, seqTable = 3, clr = 0, start = 1, stop = 1,
    delay = 1, portStats = 2, range = functions("range.", RANGE),
})

dofile(arg[1])
