-- Keeps the lease, or ends it.
-- KEYS: the lease
-- ARGV: its token, and its ms from now on; 0 ends it
-- Returns 1, or 0: it is another's, or over.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
