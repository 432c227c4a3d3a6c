-- Forgets a session, unless another owner or a later epoch has it.
-- KEYS: 1 netstacks:session:{id}, 2 netstacks:owned:{owner}, 3 netstacks:instance:{owner}
-- ARGV: 1 session id, 2 owner, 3 epoch
-- Reply: 1 when it was forgotten, else 0
local owner, epoch = unpack(redis.call('HMGET', KEYS[1], 'owner', 'epoch'))
if owner ~= ARGV[2] or tonumber(epoch) > tonumber(ARGV[3]) then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('HSET', KEYS[3], 'sessions', redis.call('SCARD', KEYS[2]))
end
return 1
