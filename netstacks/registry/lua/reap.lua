-- Removes stale instances with their sessions; none while no instance is fresh, because then the data is wrong.
-- A call removes a batch of sessions, so that other clients do not wait long; the next call, by any instance, goes on.
-- KEYS: 1 netstacks:instances; the keys of instances and sessions are derived from stored data
-- ARGV: 1 TTL in seconds, 2 most sessions to remove, 3 the only instance to remove, stale or not (else '')
-- Reply: {1 when some are left else 0, ids of the removed instances...}
local function stale()
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1000000
  local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.6f', now - ARGV[1]))
  -- Heartbeats in the future predate a clock that was set back, and were not renewed since.
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.6f', now + ARGV[1]), '+inf')) do
    ids[#ids + 1] = id
  end
  return #ids < redis.call('ZCARD', KEYS[1]) and ids or {}
end

own(KEYS[1], 'zset')
local budget = tonumber(ARGV[2])
local reply = {0}
for _, id in ipairs(ARGV[3] == '' and stale() or {ARGV[3]}) do
  local owned = 'netstacks:owned:' .. id
  -- First: from here on, its heartbeat returns "unknown", and the instance registers again.
  redis.call('DEL', 'netstacks:instance:' .. id)
  own(owned, 'set')
  local sessions = redis.call('SPOP', owned, budget)
  budget = budget - #sessions
  if #sessions > 0 then
    for i, session in ipairs(sessions) do
      sessions[i] = 'netstacks:session:' .. session
    end
    redis.call('UNLINK', unpack(sessions))
  end
  if redis.call('EXISTS', owned) == 1 then
    reply[1] = 1
    return reply
  end
  redis.call('ZREM', KEYS[1], id)
  reply[#reply + 1] = id
end
return reply
