-- The lock on roles is taken last. A change of a role confirms its own access before it waits for this lock.

-- name: confirm_user
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(hashtext('netstacks.access'), hashtext(%(user_id)s::uuid::text))
), turn_of_roles AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(hashtext('netstacks.roles')) FROM turn
)
SELECT role FROM turn_of_roles, users WHERE id = %(user_id)s AND is_active FOR SHARE OF users

-- name: confirm_login
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(hashtext('netstacks.access'), hashtext(%(user_id)s::uuid::text))
), turn_of_roles AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(hashtext('netstacks.roles')) FROM turn
)
SELECT users.role
FROM turn_of_roles, logins JOIN users ON users.id = logins.user_id
WHERE logins.id = %(login_id)s AND users.id = %(user_id)s
  AND logins.revoked_at IS NULL AND logins.expires_at > now() AND users.is_active
FOR SHARE OF logins, users

-- name: lock
SELECT pg_advisory_xact_lock(hashtext('netstacks.access'), hashtext(%(user_id)s::uuid::text))

-- name: lock_administration
SELECT pg_advisory_xact_lock(hashtext('netstacks.users'))

-- name: lock_roles
SELECT pg_advisory_xact_lock(hashtext('netstacks.roles'))

-- name: roles
SELECT users.id, roles.name, roles.permissions, roles.device_tags, roles.device_sites
FROM users JOIN roles ON roles.name = users.role
WHERE users.id = ANY(%(user_ids)s) AND users.is_active

-- name: revoked
SELECT id FROM logins WHERE id = ANY(%(login_ids)s) AND revoked_at IS NOT NULL
