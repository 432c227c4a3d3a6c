-- name: page
SELECT id, username, device_name, owner, owner_address, epoch, state, started_at, recording_bytes
FROM sessions
WHERE {conditions} AND started_at < coalesce(%(before)s::timestamptz, 'infinity')
ORDER BY started_at DESC
LIMIT %(limit)s

-- name: is_live
state <> 'ended'

-- name: of_owner
owner = %(owner)s
