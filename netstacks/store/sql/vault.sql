-- name: lock_current
-- The current key cannot be replaced until the transaction ends: `lock_all` conflicts with this lock mode.
LOCK TABLE vault_keys IN ROW SHARE MODE

-- name: lock_all
LOCK TABLE vault_keys IN EXCLUSIVE MODE

-- name: current
SELECT key_id, canary FROM vault_keys WHERE is_current

-- name: create_first
INSERT INTO vault_keys (key_id, canary, is_current)
SELECT %(key_id)s, %(canary)s, true
WHERE NOT EXISTS (SELECT 1 FROM vault_keys)
ON CONFLICT DO NOTHING

-- name: retire_current
UPDATE vault_keys SET is_current = false WHERE is_current

-- name: make_current
INSERT INTO vault_keys (key_id, canary, is_current)
VALUES (%(key_id)s, %(canary)s, true)
ON CONFLICT (key_id) DO UPDATE SET is_current = true

-- name: drop_retired
DELETE FROM vault_keys k
WHERE NOT is_current AND NOT EXISTS (SELECT 1 FROM vault_secrets s WHERE s.key_id = k.key_id)

-- name: put
INSERT INTO vault_secrets (credential_id, field, key_id, sealed)
VALUES (%(credential_id)s, %(field)s, %(key_id)s, %(sealed)s)
ON CONFLICT (credential_id, field) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed

-- name: get
SELECT key_id, sealed FROM vault_secrets WHERE credential_id = %(credential_id)s AND field = %(field)s

-- name: all
SELECT credential_id, field, key_id, sealed FROM vault_secrets

-- name: remove
DELETE FROM vault_secrets WHERE credential_id = %(credential_id)s AND field = %(field)s

-- name: sealed_otherwise
SELECT credential_id, field, key_id, sealed
FROM vault_secrets
WHERE key_id <> %(key_id)s
  AND (credential_id, field) NOT IN (SELECT * FROM unnest(%(holder_ids)s::uuid[], %(fields)s::text[]))
ORDER BY credential_id, field
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- name: status
SELECT k.key_id, k.is_current, k.created_at,
       (SELECT count(*) FROM vault_secrets s WHERE s.key_id = k.key_id) AS secrets
FROM vault_keys k
ORDER BY k.created_at

-- name: any_sealed_otherwise
SELECT 1 FROM vault_secrets
WHERE key_id <> %(key_id)s
  AND (credential_id, field) NOT IN (SELECT * FROM unnest(%(holder_ids)s::uuid[], %(fields)s::text[]))
LIMIT 1
