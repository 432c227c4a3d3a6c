-- Removes sessions of one owner, except those with another owner or a later epoch.
-- KEYS: 1 netstacks:owned:{owner}, 2 netstacks:instance:{owner}, 3... netstacks:session:{id} of each
-- ARGV: 1 owner, 2... alternating session ids and epochs, in the order of the keys
-- Reply: how many were removed
own(KEYS[1], 'set')
own(KEYS[2], 'hash')
local removed = 0
for i = 3, #KEYS do
  local id, latest = ARGV[2 * i - 4], ARGV[2 * i - 3]
  own(KEYS[i], 'hash')
  local owner, epoch = unpack(redis.call('HMGET', KEYS[i], 'owner', 'epoch'))
  if owner == ARGV[1] and epoch_of(epoch) <= tonumber(latest) then
    redis.call('DEL', KEYS[i])
    redis.call('SREM', KEYS[1], id)
    removed = removed + 1
  end
end
if removed > 0 and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HSET', KEYS[2], 'sessions', redis.call('SCARD', KEYS[1]))
end
return removed
