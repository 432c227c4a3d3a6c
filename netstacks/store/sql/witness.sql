-- name: take
SELECT pg_try_advisory_lock(%(key)s) AS held, pg_backend_pid() AS pid

-- name: heartbeat
SELECT pg_backend_pid() AS pid

-- name: holders
-- pg_locks shows a lock with a bigint key as two halves. `silent_secs` is the time since the last statement of its
-- connection.
SELECT (l.classid::bigint << 32) | l.objid::bigint AS key, l.pid,
       extract(epoch FROM clock_timestamp() - greatest(a.state_change, a.query_start))::double precision AS silent_secs
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((l.classid::bigint << 32) | l.objid::bigint) = ANY(%(keys)s)

-- name: end_holder
-- Terminates a half-open connection of this instance itself: no other instance takes a lock under its id.
SELECT count(pg_terminate_backend(pid)) AS ended
FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((classid::bigint << 32) | objid::bigint) = %(key)s

-- name: end_connections
SELECT count(pg_terminate_backend(pid)) AS ended
FROM pg_stat_activity
WHERE application_name = left(%(name)s, 63) AND datname = current_database() AND usename = current_user
  AND pid <> pg_backend_pid()
