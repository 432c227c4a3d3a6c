-- name: insert
INSERT INTO users (id, username, email, display_name, role, password_hash, is_password_long)
VALUES (
    %(id)s, %(username)s, %(email)s, %(display_name)s, %(role)s, %(password_hash)s, %(is_password_long)s
)
RETURNING id, username, email, display_name, role, is_active, created_at, last_login_at, auth_provider, version, updated_by,
          (SELECT permissions FROM roles WHERE roles.name = users.role) AS permissions

-- name: all
SELECT users.id, username, email, display_name, role, is_active, users.created_at, last_login_at, auth_provider,
       users.version, users.updated_by, permissions
FROM users JOIN roles ON roles.name = users.role
ORDER BY lower(username)

-- name: get
SELECT id, username, email, display_name, role, is_active, created_at, last_login_at, auth_provider, version, updated_by,
       (SELECT permissions FROM roles WHERE roles.name = users.role) AS permissions
FROM users WHERE id = %(id)s

-- name: by_login_name
SELECT id, username, email, display_name, role, is_active, created_at, last_login_at, auth_provider, version, updated_by,
       password_hash,
       (SELECT permissions FROM roles WHERE roles.name = users.role) AS permissions
FROM users
WHERE lower(username) = lower(%(name)s) OR lower(email) = lower(%(name)s)
ORDER BY lower(username) = lower(%(name)s) DESC
LIMIT 1

-- name: password_hash
SELECT password_hash FROM users WHERE id = %(id)s

-- name: update
UPDATE users
SET email = %(email)s, display_name = %(display_name)s, role = %(role)s, is_active = %(is_active)s, version = version + 1,
    updated_by = %(by)s
WHERE id = %(id)s
RETURNING id, username, email, display_name, role, is_active, created_at, last_login_at, auth_provider, version, updated_by,
          (SELECT permissions FROM roles WHERE roles.name = users.role) AS permissions

-- name: lock_external
SELECT id FROM users WHERE id = %(id)s AND auth_provider <> 'local' FOR UPDATE

-- name: set_password
WITH administrators AS (
    SELECT name FROM roles WHERE '*' = ANY(permissions) AND device_tags = '{}' AND device_sites = '{}'
)
UPDATE users SET password_hash = %(password_hash)s, is_password_long = %(is_long)s
WHERE id = %(id)s AND (%(is_long)s OR role NOT IN (SELECT name FROM administrators))

-- name: lock_short_password
WITH administrators AS (
    SELECT name FROM roles WHERE '*' = ANY(permissions) AND device_tags = '{}' AND device_sites = '{}'
)
SELECT id FROM users
WHERE id = %(id)s AND role NOT IN (SELECT name FROM administrators) AND NOT is_password_long
FOR UPDATE

-- name: note_login
UPDATE users SET last_login_at = now()
WHERE id = %(id)s AND is_active AND password_hash = %(password_hash)s
RETURNING role

-- name: delete
DELETE FROM users WHERE id = %(id)s

-- name: other_with_log_in_name
-- A user whose e-mail address is this user name, or whose user name is this address.
SELECT lower(email) = lower(%(username)s) IS TRUE AS is_email
FROM users
WHERE id <> %(id)s AND (lower(email) = lower(%(username)s) OR lower(username) = lower(%(email)s))
LIMIT 1

-- name: lock_active_admins
-- A user of single sign-on can log in only while one of the user's identity providers is enabled.
WITH administrators AS (
    SELECT name FROM roles WHERE '*' = ANY(permissions) AND device_tags = '{}' AND device_sites = '{}'
)
SELECT id FROM users
WHERE role IN (SELECT name FROM administrators) AND is_active
  AND (auth_provider = 'local' OR EXISTS (
      SELECT FROM external_identities JOIN identity_providers ON identity_providers.id = provider_id
      WHERE user_id = users.id AND enabled
  ))
ORDER BY id
FOR UPDATE OF users

-- name: short_administrator
WITH administrators AS (
    SELECT name FROM roles WHERE '*' = ANY(permissions) AND device_tags = '{}' AND device_sites = '{}'
)
SELECT username FROM users
WHERE role IN (SELECT name FROM administrators) AND NOT is_password_long AND role <> 'admin'
ORDER BY username LIMIT 1

-- name: lock_table
LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE

-- name: any
SELECT EXISTS (SELECT FROM users) AS any_user
