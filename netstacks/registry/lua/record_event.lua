-- Stores an event; drops the oldest ones beyond about the limit.
-- KEYS: 1 netstacks:events
-- ARGV: 1 the limit, 2... alternating fields and values of the event
-- Reply: its id in the stream
own(KEYS[1], 'stream')
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
