-- Returns all registered instances at one moment, as JSON: parsing a thousand hashes would block the caller's loop.
-- KEYS: 1 netstacks:instances; the keys of the instances are derived from its members
-- ARGV: none
-- Reply: JSON [seconds, microseconds, [id, last heartbeat, [alternating fields and values of its hash]]...], all
--        strings; for a key that is not a hash, the name of its type replaces the fields and values
own(KEYS[1], 'zset')
local reply = redis.call('TIME')
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #found, 2 do
  local key = 'netstacks:instance:' .. found[i]
  local type = redis.call('TYPE', key).ok
  if type ~= 'none' then -- otherwise it is being reaped
    reply[#reply + 1] = {found[i], found[i + 1], type == 'hash' and redis.call('HGETALL', key) or type}
  end
end
return cjson.encode(reply)
