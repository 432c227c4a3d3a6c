-- name: create
INSERT INTO sessions (id, user_id, username, device_id, device_name, host, port, credential_id, term, cols, rows,
                      owner, owner_address, epoch, state, reconnect_hash)
VALUES (%(id)s, %(user_id)s, %(username)s, %(device_id)s, %(device_name)s, %(host)s, %(port)s, %(credential_id)s,
        %(term)s, %(cols)s, %(rows)s, %(owner)s, %(owner_address)s, 1, 'active', %(reconnect_hash)s)
RETURNING *

-- name: find
SELECT * FROM sessions WHERE id = %(id)s

-- name: find_all
SELECT * FROM sessions WHERE id = ANY(%(ids)s::uuid[])

-- name: find_by_token
SELECT * FROM sessions WHERE reconnect_hash = %(reconnect_hash)s

-- name: claim
UPDATE sessions
SET owner = %(owner)s, owner_address = %(owner_address)s, epoch = epoch + 1, state = 'active', detached_at = NULL
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended'
RETURNING *

-- name: release
UPDATE sessions
SET owner = NULL, owner_address = NULL, epoch = epoch + 1, state = 'detached',
    detached_at = coalesce(detached_at, now())
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended'
RETURNING *

-- name: end
UPDATE sessions
SET owner = NULL, owner_address = NULL, epoch = epoch + 1, state = 'ended', ended_at = now(), end_reason = %(reason)s
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended'
RETURNING *

-- name: end_all_of
UPDATE sessions
SET owner = NULL, owner_address = NULL, epoch = epoch + 1, state = 'ended', ended_at = now(), end_reason = %(reason)s
WHERE user_id = %(user_id)s AND state <> 'ended' AND NOT id = ANY(%(but)s::uuid[])
RETURNING id

-- name: detach
UPDATE sessions SET state = 'detached', detached_at = now()
WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'active'

-- name: attach
UPDATE sessions SET state = 'active', detached_at = NULL, cols = %(cols)s, rows = %(rows)s
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended'

-- name: page
SELECT s.*, (SELECT max(end_offset) FROM recording_chunks c WHERE c.session_id = s.id) AS recording_bytes
FROM sessions s
WHERE (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
  AND (%(live)s::boolean IS NULL OR (state <> 'ended') = %(live)s)
  AND (%(before)s::timestamptz IS NULL OR started_at < %(before)s)
ORDER BY started_at DESC
LIMIT %(limit)s

-- name: detach_orphans
UPDATE sessions SET state = 'detached', detached_at = now()
WHERE state = 'active' AND (owner IS NULL OR NOT owner = ANY(%(living)s))

-- name: overdue_orphans
SELECT * FROM sessions
WHERE state = 'detached' AND (owner IS NULL OR NOT owner = ANY(%(living)s))
  AND detached_at < now() - make_interval(secs => %(ttl_secs)s)
ORDER BY detached_at
LIMIT 500
