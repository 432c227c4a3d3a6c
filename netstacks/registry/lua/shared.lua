-- Before every script. What another program has put at one of our keys must not keep all scripts from working.

-- Drops what is of another type than ours: no command of ours could use it. The server's log names it.
local function own(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then
    redis.log(redis.LOG_WARNING, 'netstacks: dropped ' .. key .. ', a ' .. found .. ' where a ' .. kind .. ' belongs')
    redis.call('DEL', key)
  end
end

-- The epoch of a stored session: 0, which every other follows, for what is none. PostgreSQL decides who owns.
local function epoch_of(text)
  local epoch = text and #text <= 10 and tonumber(string.match(text, '^%d+$')) or 0
  return epoch < 2147483648 and epoch or 0
end
