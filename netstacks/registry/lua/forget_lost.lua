-- Forgets a lost instance: it was dismissed, or another one has taken its place, which may replace only one.
-- KEYS: 1 netstacks:lost, 2 netstacks:lost:{id}, 3 netstacks:instance:{id of the replacement} (none when dismissed)
-- ARGV: 1 id of the lost instance
-- Reply: 1, or 0 when it is not lost, or when the replacement is not registered or has replaced another one
own(KEYS[1], 'zset')
if KEYS[3] and redis.call('EXISTS', KEYS[2]) == 1 then
  if redis.call('TYPE', KEYS[3]).ok ~= 'hash' or (redis.call('HGET', KEYS[3], 'replaces') or '') ~= '' then
    return 0
  end
  redis.call('HSET', KEYS[3], 'replaces', ARGV[1])
end
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('DEL', KEYS[2])
