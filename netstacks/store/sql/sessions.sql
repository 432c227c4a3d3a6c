-- name: create
INSERT INTO sessions (id, user_id, username, device_id, device_name, host, port, credential_id, term, cols, rows,
                      owner, owner_address, epoch, state, reconnect_hash)
VALUES (%(id)s, %(user_id)s, %(username)s, %(device_id)s, %(device_name)s, %(host)s, %(port)s, %(credential_id)s,
        %(term)s, %(cols)s, %(rows)s, %(owner)s, %(owner_address)s, 1, 'active', %(reconnect_hash)s)
RETURNING *

-- name: find
SELECT * FROM sessions WHERE id = %(id)s

-- name: find_by_token
SELECT * FROM sessions WHERE reconnect_hash = %(reconnect_hash)s

-- name: claim
UPDATE sessions
SET owner = %(owner)s, owner_address = %(owner_address)s, epoch = epoch + 1, state = 'active', detached_at = NULL,
    orphaned_at = NULL, lost_owner = coalesce(owner, lost_owner)
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended' AND end_requested IS NULL
RETURNING *

-- name: release
UPDATE sessions
SET owner = NULL, owner_address = NULL, epoch = epoch + 1, state = 'detached',
    detached_at = coalesce(detached_at, now()),
    orphaned_at = CASE WHEN state = 'active' THEN now() ELSE orphaned_at END
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended'
RETURNING *

-- name: end
UPDATE sessions
SET owner = NULL, owner_address = NULL, epoch = epoch + 1, state = 'ended', ended_at = now(), end_reason = %(reason)s
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended'
RETURNING *

-- name: end_orphan
UPDATE sessions
SET owner = NULL, owner_address = NULL, epoch = epoch + 1, state = 'ended', ended_at = now(), end_reason = %(reason)s,
    lost_owner = coalesce(owner, lost_owner)
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended'
RETURNING *

-- name: end_unowned_of
UPDATE sessions
SET epoch = epoch + 1, state = 'ended', ended_at = now(), end_reason = %(reason)s
WHERE user_id = %(user_id)s AND state <> 'ended' AND owner IS NULL
RETURNING id

-- name: request_end_of
UPDATE sessions SET end_requested = %(reason)s
WHERE user_id = %(user_id)s AND state <> 'ended' AND owner IS NOT NULL
RETURNING id

-- name: other_owners
-- A loose scan of the index sessions_live, one lookup per owner: DISTINCT would read every live row.
WITH RECURSIVE found (owner) AS (
    SELECT (SELECT owner FROM sessions WHERE state <> 'ended' ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT (SELECT owner FROM sessions WHERE state <> 'ended' AND owner > found.owner ORDER BY owner LIMIT 1)
    FROM found WHERE found.owner IS NOT NULL
)
SELECT owner AS id, coalesce((SELECT owner_address FROM sessions
                              WHERE state <> 'ended' AND owner = found.owner LIMIT 1), '') AS address
FROM found WHERE owner <> %(instance)s

-- name: detach
UPDATE sessions SET state = 'detached', detached_at = now()
WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'active'

-- name: attach
UPDATE sessions SET state = 'active', detached_at = NULL, orphaned_at = NULL, cols = %(cols)s, rows = %(rows)s
WHERE id = %(id)s AND epoch = %(epoch)s AND state <> 'ended'

-- name: detach_orphans
-- In small batches and without rows that are being claimed: an UPDATE of all rows would block every claim until it ends.
UPDATE sessions SET state = 'detached', detached_at = now(), orphaned_at = now()
WHERE id IN (SELECT id FROM sessions WHERE state = 'active' AND (owner IS NULL OR owner = ANY(%(gone)s::text[]))
             LIMIT 500 FOR UPDATE SKIP LOCKED)

-- name: due_orphans
SELECT * FROM sessions
WHERE state = 'detached' AND (owner IS NULL OR owner = ANY(%(gone)s::text[]))
  AND (end_requested IS NOT NULL OR detached_at < now() - make_interval(secs => %(ttl_secs)s))
ORDER BY detached_at
LIMIT 50

-- name: counts_of_lost
-- Two indexed parts: an OR over both columns would read every live session. The second one has what nobody has claimed.
SELECT id, count(*) FILTER (WHERE state <> 'ended' AND owner IS NOT NULL AND owner <> id) AS taken_over,
       count(*) FILTER (WHERE state <> 'ended' AND (owner IS NULL OR owner = id)) AS waiting,
       count(*) FILTER (WHERE state = 'ended') AS ended
FROM (SELECT lost_owner AS id, owner, state FROM sessions WHERE lost_owner = ANY(%(ids)s::text[])
      UNION ALL
      SELECT owner, owner, state FROM sessions
      WHERE state <> 'ended' AND owner = ANY(%(ids)s::text[]) AND lost_owner IS DISTINCT FROM owner) AS found
GROUP BY id

-- name: unowned
SELECT count(*) AS unowned FROM sessions
WHERE state <> 'ended' AND (owner IS NULL OR owner <> ALL(%(registered)s::text[]))

-- name: waiting_on_device
SELECT id, username FROM sessions
WHERE device_id = %(device_id)s AND state = 'detached'
ORDER BY detached_at

-- name: standings
SELECT reconnect_hash, state = 'active' OR orphaned_at IS NOT NULL AS was_attached,
       recording_ended_at > extract(epoch FROM coalesce(orphaned_at, now())) - %(in_use_secs)s AS was_in_use
FROM sessions WHERE reconnect_hash = ANY(%(hashes)s::bytea[])

-- name: keep_waiting
UPDATE sessions SET detached_at = now()
WHERE state = 'detached' AND reconnect_hash = ANY(%(hashes)s::bytea[])
