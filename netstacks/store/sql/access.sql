-- name: confirm_user
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(hashtext('netstacks.access'), hashtext(%(user_id)s::uuid::text))
)
SELECT role FROM turn, users WHERE id = %(user_id)s AND is_active FOR SHARE OF users

-- name: confirm_login
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(hashtext('netstacks.access'), hashtext(%(user_id)s::uuid::text))
)
SELECT users.role
FROM turn, logins JOIN users ON users.id = logins.user_id
WHERE logins.id = %(login_id)s AND users.id = %(user_id)s
  AND logins.revoked_at IS NULL AND logins.expires_at > now() AND users.is_active
FOR SHARE OF logins, users

-- name: lock
SELECT pg_advisory_xact_lock(hashtext('netstacks.access'), hashtext(%(user_id)s::uuid::text))

-- name: lock_administration
SELECT pg_advisory_xact_lock(hashtext('netstacks.users'))

-- name: roles
SELECT id, role FROM users WHERE id = ANY(%(user_ids)s) AND is_active

-- name: revoked
SELECT id FROM logins WHERE id = ANY(%(login_ids)s) AND revoked_at IS NOT NULL
