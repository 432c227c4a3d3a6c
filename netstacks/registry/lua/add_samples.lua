-- Stores samples of an instance; drops the oldest ones beyond about the limit.
-- KEYS: 1 netstacks:samples:{id}
-- ARGV: 1 the limit, 2 seconds until the samples expire, 3... the figures of each sample, oldest first
-- Reply: nothing
own(KEYS[1], 'stream')
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'figures', ARGV[i])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
