-- name: insert
INSERT INTO users (id, username, email, display_name, role, password_hash, is_password_long)
VALUES (
    %(id)s, %(username)s, %(email)s, %(display_name)s, %(role)s, %(password_hash)s, %(is_password_long)s
)
RETURNING id, username, email, display_name, role, is_active, created_at, last_login_at

-- name: all
SELECT id, username, email, display_name, role, is_active, created_at, last_login_at
FROM users ORDER BY lower(username)

-- name: get
SELECT id, username, email, display_name, role, is_active, created_at, last_login_at
FROM users WHERE id = %(id)s

-- name: by_login_name
SELECT id, username, email, display_name, role, is_active, created_at, last_login_at, password_hash
FROM users
WHERE lower(username) = lower(%(name)s) OR lower(email) = lower(%(name)s)
ORDER BY lower(username) = lower(%(name)s) DESC
LIMIT 1

-- name: password_hash
SELECT password_hash FROM users WHERE id = %(id)s

-- name: update
UPDATE users
SET email = %(email)s, display_name = %(display_name)s, role = %(role)s, is_active = %(is_active)s
WHERE id = %(id)s
RETURNING id, username, email, display_name, role, is_active, created_at, last_login_at

-- name: set_password
UPDATE users SET password_hash = %(password_hash)s, is_password_long = %(is_long)s
WHERE id = %(id)s AND (role <> 'admin' OR %(is_long)s)

-- name: lock_short_password
SELECT id FROM users WHERE id = %(id)s AND role <> 'admin' AND NOT is_password_long FOR UPDATE

-- name: note_login
UPDATE users SET last_login_at = now()
WHERE id = %(id)s AND is_active AND password_hash = %(password_hash)s
RETURNING role

-- name: delete
DELETE FROM users WHERE id = %(id)s

-- name: lock_active_admins
SELECT id FROM users WHERE role = 'admin' AND is_active ORDER BY id FOR UPDATE

-- name: lock_table
LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE

-- name: any
SELECT EXISTS (SELECT FROM users) AS any_user
