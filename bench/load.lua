-- wrk's requests: the README's sample incident in one of four mixes, $MIX:
--   new        every request an incident that was not there, with an id that falls anywhere in the index
--   update     $KEPT stored incidents in turn, each request with another name
--   unchanged  the same, with nothing that differs from what preload.sql stored
--   services   the same, each request with other services than the one before
-- Prints one line: requests, seconds, 50th and 99th percentile in ms, failures.
local mix = os.getenv("MIX")
local kept = tonumber(os.getenv("KEPT"))
local body = '{"reference_id":"%s","name":"%s","priority":"P1",' ..
    '"source_url":"https://status.example.com/incidents/1042","started_at":"2024-01-01T11:22:33+0200",' ..
    '"resolved_at":"2024-01-01T12:07:00+0200","services":%s,' ..
    '"metadata":{"cause":{"kind":"deploy","commit":"9f1c2ab"},"customers_affected":412}}'
local name = "Checkout fails for card payments"
local services = '[{"identifier":"checkout","name":"Checkout"},{"identifier":"payments-api"}]'
local count, round = 0, 0

local function new_id()
    return string.format("INC-%06x%06x-%x", math.random(0, 0xffffff), math.random(0, 0xffffff), count)
end

local function next_kept()
    if count % kept == 0 then round = round + 1 end
    return "KEPT-" .. count % kept + 1
end

local mixes = {
    new = function() return body:format(new_id(), name, services) end,
    unchanged = function() return body:format(next_kept(), name, services) end,
    update = function()
        local id = next_kept()
        return body:format(id, name .. " " .. round .. os.time(), services)
    end,
    services = function()
        local id = next_kept()
        return body:format(id, name, string.format('[{"identifier":"s%d"},{"identifier":"t%d"}]', round, round))
    end
}

local head

-- The load shares the processors with what it loads, so it is cheap: wrk.format takes five times as long.
function init()
    math.randomseed(os.time())
    head = string.format("POST %s HTTP/1.1\r\nHost: %s:%s\r\nAuthorization: Bearer %s\r\nContent-Length: ", wrk.path, wrk.host,
        wrk.port, os.getenv("INCIDENTS_TOKEN"))
end

function request()
    count = count + 1
    local text = mixes[mix]()
    return head .. #text .. "\r\n\r\n" .. text
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format("%d %.6f %.3f %.3f %d", summary.requests, summary.duration / 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
