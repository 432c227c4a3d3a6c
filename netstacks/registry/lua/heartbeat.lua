-- Says that an instance lives. One that is unknown (reaped, or the data is lost) stays so and has to register.
-- KEYS: 1 netstacks:instances, 2 netstacks:instance:{id}
-- ARGV: 1 instance id
-- Reply: {its state or nil when unknown, run id of this server}
local state = redis.call('HGET', KEYS[2], 'state')
if state then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[1], time[1] .. '.' .. string.format('%06d', time[2]), ARGV[1])
end
return {state, string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')}
