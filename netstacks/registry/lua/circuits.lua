-- Returns all circuits at one moment. Drops the names of expired circuits.
-- KEYS: 1 netstacks:breakers; the keys of the circuits are derived from its members
-- ARGV: none
-- Reply: JSON [seconds, microseconds, [name, [alternating fields and values of its hash]]...], all strings; for a key
--        that is not a hash, the name of its type replaces the fields and values
own(KEYS[1], 'set')
local reply = redis.call('TIME')
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local key = 'netstacks:breaker:' .. name
  local type = redis.call('TYPE', key).ok
  if type == 'none' then
    redis.call('SREM', KEYS[1], name)
  else
    reply[#reply + 1] = {name, type == 'hash' and redis.call('HGETALL', key) or type}
  end
end
return cjson.encode(reply)
