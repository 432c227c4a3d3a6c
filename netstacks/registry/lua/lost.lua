-- Returns all lost instances, oldest loss first. Drops the names of those whose record has expired.
-- KEYS: 1 netstacks:lost; the keys of the records are derived from its members
-- ARGV: none
-- Reply: JSON [[id, [alternating fields and values of its hash]]...], all strings; for a key that is not a hash, the name
--        of its type replaces the fields and values
own(KEYS[1], 'zset')
local reply = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = KEYS[1] .. ':' .. id
  local type = redis.call('TYPE', key).ok
  if type == 'none' then
    redis.call('ZREM', KEYS[1], id)
  else
    reply[#reply + 1] = {id, type == 'hash' and redis.call('HGETALL', key) or type}
  end
end
return #reply == 0 and '[]' or cjson.encode(reply)
