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

-- name: edited
SELECT resource, details FROM audit
WHERE actor = %(actor)s AND event = 'device.updated' AND at > now() - interval '1 day'
  AND actor_id = %(actor_id)s AND details ->> 'edit' = %(edit_id)s

-- name: live_sessions
SELECT count(*) AS sessions FROM sessions WHERE device_id = ANY(%(ids)s) AND state <> 'ended'
