-- All circuits at one moment. The name of one that has expired is dropped.
-- KEYS: 1 netstacks:breakers; those of the circuits are derived from what is found
-- ARGV: none
-- Reply: JSON [seconds, microseconds, [name, [field and value by turns of its hash]]...], all strings; the type of what
--        is no hash stands for the fields and values
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
