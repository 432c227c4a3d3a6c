-- Renews the heartbeat of an instance. An unknown one (reaped, or the data was lost) stays unknown and must register.
-- KEYS: 1 netstacks:instances, 2 netstacks:instance:{id}, 3 netstacks:server
-- ARGV: 1 instance id, 2... alternating fields and values of its load
-- Reply: {its state or nil when unknown, run id of this server, 1 for the first heartbeat of any instance to this run
--         else 0, seconds and microseconds of this server's clock}
own(KEYS[1], 'zset')
own(KEYS[2], 'hash')
own(KEYS[3], 'string')
local time = redis.call('TIME')
local state = redis.call('HGET', KEYS[2], 'state')
if state then
  redis.call('ZADD', KEYS[1], time[1] .. '.' .. string.format('%06d', time[2]), ARGV[1])
  redis.call('HSET', KEYS[2], unpack(ARGV, 2))
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local first = redis.call('GET', KEYS[3]) ~= run
if first then
  redis.call('SET', KEYS[3], run)
end
return {state, run, first and 1 or 0, time[1], time[2]}
