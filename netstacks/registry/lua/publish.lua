-- Stores the location of a session. The epoch only moves forward, and one epoch has one owner.
-- KEYS: 1 netstacks:session:{id}, 2 netstacks:owned:{owner}, 3 netstacks:instance:{owner};
--       the keys of the former owner are derived from the stored record
-- ARGV: 1 session id, 2 owner, 3 epoch, 4... alternating fields and values of the whole hash
-- Reply: 'published', 'fenced' or 'unknown_owner'
own(KEYS[1], 'hash')
own(KEYS[2], 'set')
own(KEYS[3], 'hash')
local owner, epoch = unpack(redis.call('HMGET', KEYS[1], 'owner', 'epoch'))
if owner then
  local ahead = tonumber(ARGV[3]) - epoch_of(epoch)
  if ahead < 0 or (ahead == 0 and owner ~= ARGV[2]) then
    return 'fenced'
  end
end
-- Invariant: a set of owned sessions never outlives its instance, so reaping finds every session.
if redis.call('EXISTS', KEYS[3]) == 0 then
  return 'unknown_owner'
end
if owner and owner ~= ARGV[2] then
  local owned, instance = 'netstacks:owned:' .. owner, 'netstacks:instance:' .. owner
  own(owned, 'set')
  own(instance, 'hash')
  redis.call('SREM', owned, ARGV[1])
  if redis.call('EXISTS', instance) == 1 then
    redis.call('HSET', instance, 'sessions', redis.call('SCARD', owned))
  end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], 'sessions', redis.call('SCARD', KEYS[2]))
return 'published'
