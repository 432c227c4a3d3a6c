-- Registers an instance with a heartbeat; keeps its sessions, if it has any here. It is no longer lost.
-- KEYS: 1 netstacks:instances, 2 netstacks:instance:{id}, 3 netstacks:owned:{id}, 4 netstacks:lost,
--       5 netstacks:lost:{id}
-- ARGV: 1 instance id, 2... alternating fields and values of its hash
-- Reply: nothing
own(KEYS[1], 'zset')
own(KEYS[2], 'hash')
own(KEYS[3], 'set')
own(KEYS[4], 'zset')
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] .. '.' .. string.format('%06d', time[2]), ARGV[1])
redis.call('HSET', KEYS[2], 'sessions', redis.call('SCARD', KEYS[3]), unpack(ARGV, 2))
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('DEL', KEYS[5])
