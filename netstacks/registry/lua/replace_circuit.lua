-- Stores a circuit if the stored one has the expected version. A missing one, or one that is not a hash, has version 0.
-- KEYS: 1 netstacks:breaker:{name}, 2 netstacks:breakers
-- ARGV: 1 name, 2 the expected version, 3 seconds until it expires,
--       4... alternating fields and values of the whole hash
-- Reply: {seconds, microseconds, 1} when it was stored, else
--        {seconds, microseconds, 0, alternating fields and values of the stored hash...}
local time = redis.call('TIME')
own(KEYS[1], 'hash')
own(KEYS[2], 'set')
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
if version ~= tonumber(ARGV[2]) then
  if redis.call('EXISTS', KEYS[1]) == 1 then -- The set of names may have been lost.
    redis.call('SADD', KEYS[2], ARGV[1])
  end
  return {time[1], time[2], 0, unpack(redis.call('HGETALL', KEYS[1]))}
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
return {time[1], time[2], 1}
