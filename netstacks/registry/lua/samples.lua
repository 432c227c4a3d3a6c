-- Returns samples of instances, as JSON: parsing hundreds of entries for each would block the caller's loop.
-- KEYS: netstacks:samples:{id} of each instance
-- ARGV: the first id to read of each, in the order of the keys
-- Reply: JSON, for each key [[id of the entry, its figures, or false without any]...]; for a key that is not a stream, the
--        name of its type
local reply = {}
for i, key in ipairs(KEYS) do
  local type = redis.call('TYPE', key).ok
  if type == 'stream' or type == 'none' then
    local entries = {}
    for _, entry in ipairs(redis.call('XRANGE', key, ARGV[i], '+')) do
      local figures = false
      for field = 1, #entry[2], 2 do
        if entry[2][field] == 'figures' then
          figures = entry[2][field + 1]
        end
      end
      entries[#entries + 1] = {entry[1], figures}
    end
    reply[i] = #entries > 0 and entries or cjson.decode('[]')
  else
    reply[i] = type
  end
end
return cjson.encode(reply)
