-- Stores an event; drops the oldest ones beyond about the limit.
-- KEYS: 1 netstacks:events, 2 netstacks:reported:{kind}
-- ARGV: 1 the limit, 2 milliseconds in which a second event of this kind is dropped (0 to store every one),
--       3... alternating fields and values of the event
-- Reply: its id in the stream, or nil when it was dropped
own(KEYS[1], 'stream')
if ARGV[2] ~= '0' and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2]) then
  return false
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 3))
