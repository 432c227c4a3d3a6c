-- name: hold
SELECT pg_try_advisory_lock(%(key)s) AS held

-- name: pid
SELECT pg_backend_pid() AS pid

-- name: holders
-- A lock by one bigint key shows as its two halves.
SELECT (classid::bigint << 32) | objid::bigint AS key, pid
FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((classid::bigint << 32) | objid::bigint) = ANY(%(keys)s)
