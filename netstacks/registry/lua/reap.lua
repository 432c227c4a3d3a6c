-- Removes stale instances with their sessions; none while no instance is fresh, because then the data is wrong.
-- A call removes a batch of sessions, so that other clients do not wait long; the next call, by any instance, goes on.
-- KEYS: 1 netstacks:instances, 2 netstacks:lost; the keys of instances and sessions are derived from stored data
-- ARGV: 1 TTL in seconds, 2 most sessions to remove, 3 the only instance to remove, stale or not (else ''),
--       4 the instance that declares them dead ('' when it leaves by itself: then nothing is kept of it), 5 the proof,
--       6 seconds until a lost instance is forgotten
-- Reply: {1 when some are left else 0, how many records of instances this call removed, ids of the removed instances...}
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000

local function stale()
  local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.6f', now - ARGV[1]))
  -- Heartbeats in the future predate a clock that was set back, and were not renewed since.
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.6f', now + ARGV[1]), '+inf')) do
    ids[#ids + 1] = id
  end
  return #ids < redis.call('ZCARD', KEYS[1]) and ids or {}
end

-- Keeps the record of an instance with the number of its sessions, before the first of them is removed.
local function keep(id, record, owned)
  local lost = 'netstacks:lost:' .. id
  redis.call('DEL', lost)
  redis.call('RENAME', record, lost)
  redis.call('HSET', lost, 'sessions', redis.call('SCARD', owned), 'last_heartbeat_at',
    redis.call('ZSCORE', KEYS[1], id) or 0, 'lost_at', string.format('%.6f', now), 'reaped_by', ARGV[4], 'proof',
    ARGV[5])
  redis.call('EXPIRE', lost, ARGV[6])
  redis.call('ZADD', KEYS[2], string.format('%.6f', now), id)
end

own(KEYS[1], 'zset')
own(KEYS[2], 'zset')
local budget = tonumber(ARGV[2])
local reply = {0, 0}
for _, id in ipairs(ARGV[3] == '' and stale() or {ARGV[3]}) do
  local record, owned = 'netstacks:instance:' .. id, 'netstacks:owned:' .. id
  own(owned, 'set')
  -- First: from here on, its heartbeat returns "unknown", and the instance registers again.
  local type = redis.call('TYPE', record).ok
  if type == 'hash' and ARGV[4] ~= '' then
    keep(id, record, owned)
  else
    redis.call('DEL', record)
  end
  reply[2] = reply[2] + (type == 'none' and 0 or 1)
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
