-- name: serialise
SELECT pg_advisory_xact_lock(%(key)s)

-- name: matching
SELECT * FROM devices
WHERE (id = ANY(%(ids)s) OR lower(name) = ANY(%(names)s) OR host = ANY(%(hosts)s))
ORDER BY id

-- name: lock_matching
SELECT id, updated_at FROM devices
WHERE (id = ANY(%(ids)s) OR lower(name) = ANY(%(names)s) OR host = ANY(%(hosts)s))
ORDER BY id
FOR UPDATE

-- name: delete_all
DELETE FROM devices WHERE id = ANY(%(ids)s)

-- name: live_sessions
SELECT count(*) AS sessions FROM sessions WHERE device_id = ANY(%(ids)s) AND state <> 'ended'
