-- Prepended to every script. A value that another program has written to one of our keys must not make scripts fail.

-- Deletes a key of another type than expected: no command of the scripts could use it. The server's log names it.
local function own(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then
    redis.log(redis.LOG_WARNING, 'netstacks: dropped ' .. key .. ', a ' .. found .. ' where a ' .. kind .. ' belongs')
    redis.call('DEL', key)
  end
end

-- The epoch of a stored session; 0, which every epoch supersedes, when it is malformed. PostgreSQL decides the owner.
local function epoch_of(text)
  local epoch = text and #text <= 10 and tonumber(string.match(text, '^%d+$')) or 0
  return epoch < 2147483648 and epoch or 0
end
