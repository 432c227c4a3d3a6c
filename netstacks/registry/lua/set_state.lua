-- Sets the state of a registered instance.
-- KEYS: 1 netstacks:instance:{id}
-- ARGV: 1 state
-- Reply: 1, or 0 when the instance is unknown
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return 0
end
redis.call('HSET', KEYS[1], 'state', ARGV[1])
return 1
