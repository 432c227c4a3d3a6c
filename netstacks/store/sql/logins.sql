-- name: insert
INSERT INTO logins (id, user_id, client_type, refresh_hash, address, expires_at)
VALUES (
    %(id)s, %(user_id)s, %(client_type)s, %(refresh_hash)s, %(address)s,
    now() + least(%(ttl)s, make_interval(days => %(max_days)s))
)

-- name: forget_expired
DELETE FROM logins WHERE user_id = %(user_id)s AND expires_at < now()

-- name: look_up
SELECT roles.name, roles.permissions, roles.device_tags, roles.device_sites,
       logins.last_seen_at < now() - interval '5 minutes' AS seen_long_ago
FROM logins JOIN users ON users.id = logins.user_id JOIN roles ON roles.name = users.role
WHERE logins.id = %(id)s AND logins.revoked_at IS NULL AND logins.expires_at > now() AND users.is_active

-- name: touch
UPDATE logins
SET last_seen_at = now(),
    expires_at = least(
        CASE client_type WHEN 'page' THEN now() + %(page_ttl)s ELSE expires_at END,
        created_at + make_interval(days => %(max_days)s)
    )
WHERE id = %(id)s

-- name: lock
SELECT users.username, users.role, logins.refresh_hash, logins.previous_hash,
       coalesce(logins.previous_until > now(), false) AS in_grace
FROM logins JOIN users ON users.id = logins.user_id
WHERE logins.id = %(id)s AND logins.revoked_at IS NULL AND logins.expires_at > now() AND users.is_active
  AND logins.created_at > now() - make_interval(days => %(max_days)s)
FOR UPDATE OF logins

-- name: rotate
UPDATE logins
SET refresh_hash = %(refresh_hash)s, previous_hash = refresh_hash, previous_until = now() + %(grace)s,
    last_seen_at = now(), expires_at = least(now() + %(ttl)s, created_at + make_interval(days => %(max_days)s))
WHERE id = %(id)s

-- name: revoke
UPDATE logins SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL

-- name: revoke_others
UPDATE logins SET revoked_at = now()
WHERE user_id = %(user_id)s AND id IS DISTINCT FROM %(except_id)s AND revoked_at IS NULL
RETURNING id

-- name: revoke_own
UPDATE logins SET revoked_at = now() WHERE id = %(id)s AND user_id = %(user_id)s AND revoked_at IS NULL

-- name: of_user
SELECT id, client_type, address, created_at, last_seen_at
FROM logins
WHERE user_id = %(user_id)s AND revoked_at IS NULL AND expires_at > now()
ORDER BY last_seen_at DESC

-- name: lock_seats
SELECT pg_advisory_xact_lock(hashtext('netstacks.seats'))

-- name: seat_logins
-- One row a user: the client logs in again with each page, and a seat is a user.
SELECT logins.user_id, coalesce(users.email, users.username) AS user_email,
       min(logins.created_at) AS created_at, max(logins.last_seen_at) AS last_seen_at
FROM logins JOIN users ON users.id = logins.user_id
WHERE logins.client_type = 'terminal' AND logins.revoked_at IS NULL AND logins.expires_at > now()
  AND logins.last_seen_at > now() - %(idle)s AND users.is_active
GROUP BY logins.user_id, users.email, users.username
ORDER BY min(logins.created_at)
