-- name: create
INSERT INTO credentials (id, name, description, credential_type, username, host, port, vault_type, owner_id)
VALUES (%(id)s, %(name)s, %(description)s, %(credential_type)s, %(username)s, %(host)s, %(port)s, %(vault_type)s,
        %(owner_id)s)

-- name: update
UPDATE credentials
SET name = %(name)s, description = %(description)s, credential_type = %(credential_type)s,
    username = %(username)s, host = %(host)s, port = %(port)s, updated_at = now()
WHERE id = %(id)s

-- name: find
SELECT c.*, EXISTS (SELECT 1 FROM vault_secrets s
                    WHERE s.credential_id = c.id AND s.field = 'enable_secret') AS has_enable_secret
FROM credentials c
WHERE id = %(id)s

-- name: lock
SELECT c.*, EXISTS (SELECT 1 FROM vault_secrets s
                    WHERE s.credential_id = c.id AND s.field = 'enable_secret') AS has_enable_secret
FROM credentials c
WHERE id = %(id)s
FOR UPDATE

-- name: personal
SELECT c.*, EXISTS (SELECT 1 FROM vault_secrets s
                    WHERE s.credential_id = c.id AND s.field = 'enable_secret') AS has_enable_secret
FROM credentials c
WHERE owner_id = %(user_id)s
ORDER BY lower(name), id

-- name: shared
SELECT c.*, EXISTS (SELECT 1 FROM vault_secrets s
                    WHERE s.credential_id = c.id AND s.field = 'enable_secret') AS has_enable_secret
FROM credentials c
WHERE vault_type = 'shared'
ORDER BY lower(name), id

-- name: usable
SELECT c.*, EXISTS (SELECT 1 FROM vault_secrets s
                    WHERE s.credential_id = c.id AND s.field = 'enable_secret') AS has_enable_secret
FROM credentials c
WHERE (vault_type = 'shared' OR owner_id = %(user_id)s) AND credential_type IN ('ssh_password', 'ssh_key')
ORDER BY lower(name), id

-- name: devices_using
SELECT name FROM devices WHERE default_credential_id = %(id)s ORDER BY lower(name)

-- name: delete
DELETE FROM credentials WHERE id = %(id)s
