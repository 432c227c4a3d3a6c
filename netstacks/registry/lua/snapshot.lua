-- All registered instances at one moment. As JSON, because parsing a thousand hashes would stall the caller's loop.
-- KEYS: 1 netstacks:instances; those of the instances are derived from what is found
-- ARGV: none
-- Reply: JSON [seconds, microseconds, [id, last heartbeat, [field and value by turns of its hash]]...], all strings;
--        the type of what is no hash stands for the fields and values
own(KEYS[1], 'zset')
local reply = redis.call('TIME')
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #found, 2 do
  local key = 'netstacks:instance:' .. found[i]
  local type = redis.call('TYPE', key).ok
  if type ~= 'none' then -- else it is being reaped
    reply[#reply + 1] = {found[i], found[i + 1], type == 'hash' and redis.call('HGETALL', key) or type}
  end
end
return cjson.encode(reply)
