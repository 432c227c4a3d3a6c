-- Keeps an instance as lost that this server has forgotten, unless it is registered or lost already.
-- KEYS: 1 netstacks:lost, 2 netstacks:lost:{id}, 3 netstacks:instance:{id}
-- ARGV: 1 instance id, 2 the time of its loss, 3 seconds after that until it is forgotten,
--       4... alternating fields and values of its hash
-- Reply: 1, or 0 when nothing was kept
own(KEYS[1], 'zset')
local time = redis.call('TIME')
local left = math.ceil(ARGV[2] + ARGV[3] - time[1])
if left <= 0 or redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then
  return 0
end
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[2], left)
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 1
