-- Keeps an event; about the oldest fall out.
-- KEYS: 1 netstacks:events
-- ARGV: 1 how many to keep, 2... field and value by turns of the event
-- Reply: its id in the stream
own(KEYS[1], 'stream')
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
