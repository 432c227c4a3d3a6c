-- All registered instances at one moment.
-- KEYS: 1 netstacks:instances; those of the instances are derived from what is found
-- ARGV: none
-- Reply: {seconds, microseconds, {id, last heartbeat, {field and value by turns of its hash}}...}
local reply = redis.call('TIME')
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #found, 2 do
  reply[#reply + 1] = {found[i], found[i + 1], redis.call('HGETALL', 'netstacks:instance:' .. found[i])}
end
return reply
