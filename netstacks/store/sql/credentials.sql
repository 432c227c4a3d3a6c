-- A limited reach has the shared credentials that can be used in it: those for the address of one of its devices, and
-- without an address the default credentials of its devices.

-- name: create
INSERT INTO credentials (id, name, description, credential_type, username, host, port, vault_type, owner_id)
VALUES (%(id)s, %(name)s, %(description)s, %(credential_type)s, %(username)s, %(host)s, %(port)s, %(vault_type)s,
        %(owner_id)s)

-- name: update
UPDATE credentials
SET name = %(name)s, description = %(description)s, credential_type = %(credential_type)s,
    username = %(username)s, host = %(host)s, port = %(port)s, updated_at = now(),
    updated_by = %(by)s, version = version + 1
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
WHERE id = %(id)s AND (vault_type <> 'shared' OR (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))
      AND (c.host IS NULL AND d.default_credential_id = c.id
           OR d.host = c.host AND (c.port IS NULL OR d.port = c.port)))))
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
WHERE vault_type = 'shared' AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))
      AND (c.host IS NULL AND d.default_credential_id = c.id
           OR d.host = c.host AND (c.port IS NULL OR d.port = c.port))))
ORDER BY lower(name), id

-- name: usable
SELECT c.*, EXISTS (SELECT 1 FROM vault_secrets s
                    WHERE s.credential_id = c.id AND s.field = 'enable_secret') AS has_enable_secret
FROM credentials c
WHERE credential_type IN ('ssh_password', 'ssh_key')
  AND (owner_id = %(user_id)s OR vault_type = 'shared' AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))
      AND (c.host IS NULL AND d.default_credential_id = c.id
           OR d.host = c.host AND (c.port IS NULL OR d.port = c.port)))))
ORDER BY lower(name), id

-- name: devices_using
SELECT name FROM devices
WHERE default_credential_id = %(id)s
  AND (NOT %(limited)s OR tags && %(reach_tags)s OR site = ANY(%(reach_sites)s))
ORDER BY lower(name)

-- name: delete
DELETE FROM credentials WHERE id = %(id)s
