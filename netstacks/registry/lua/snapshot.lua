-- All registered instances at one moment. As JSON, because parsing a thousand hashes would stall the caller's loop.
-- KEYS: 1 netstacks:instances; those of the instances are derived from what is found
-- ARGV: none
-- Reply: JSON [seconds, microseconds, [id, last heartbeat, [field and value by turns of its hash]]...], all strings
local reply = redis.call('TIME')
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #found, 2 do
  local stored = redis.call('HGETALL', 'netstacks:instance:' .. found[i])
  if #stored > 0 then -- else it is being reaped
    reply[#reply + 1] = {found[i], found[i + 1], stored}
  end
end
return cjson.encode(reply)
