-- name: create
INSERT INTO shares (id, session_id, permission, max_viewers, created_by, expires_at)
VALUES (%(id)s, %(session_id)s, %(permission)s, %(max_viewers)s, %(created_by)s,
        date_trunc('second', now() + %(ttl)s))
RETURNING *

-- name: find
SELECT * FROM shares WHERE id = %(id)s

-- name: open_of
SELECT * FROM shares
WHERE session_id = %(session_id)s AND revoked_at IS NULL AND expires_at > now()
ORDER BY created_at

-- name: is_open
SELECT 1 FROM shares WHERE id = %(id)s AND revoked_at IS NULL AND expires_at > now()

-- name: revoke
UPDATE shares SET revoked_at = now()
WHERE session_id = %(session_id)s AND id = coalesce(%(id)s, id) AND revoked_at IS NULL
RETURNING *

-- name: revoke_of_others
UPDATE shares SET revoked_at = now()
FROM sessions
WHERE sessions.id = shares.session_id AND sessions.user_id <> %(user_id)s
  AND shares.created_by = %(username)s AND shares.revoked_at IS NULL AND shares.expires_at > now()
RETURNING shares.*
