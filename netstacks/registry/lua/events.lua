-- Returns the latest events, newest first, as JSON: parsing a thousand entries would block the caller's loop.
-- KEYS: 1 netstacks:events
-- ARGV: 1 the most events
-- Reply: JSON [[id, [alternating fields and values]]...], all strings; for a key that is not a stream, the name of its type
local type = redis.call('TYPE', KEYS[1]).ok
if type ~= 'stream' and type ~= 'none' then
  return cjson.encode(type)
end
local found = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])
return #found > 0 and cjson.encode(found) or '[]'
