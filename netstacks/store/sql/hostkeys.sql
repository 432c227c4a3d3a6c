-- name: find
SELECT * FROM host_keys WHERE host = %(host)s AND port = %(port)s

-- name: all
SELECT * FROM host_keys k
WHERE (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE d.host = k.host AND d.port = k.port AND (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))))
ORDER BY host, port

-- name: remember
INSERT INTO host_keys (host, port, key_type, public_key, approved_by)
VALUES (%(host)s, %(port)s, %(key_type)s, %(public_key)s, %(approved_by)s)
ON CONFLICT (host, port) DO UPDATE
SET key_type = excluded.key_type, public_key = excluded.public_key, approved_by = excluded.approved_by,
    approved_at = now()
RETURNING *

-- name: approve_first
INSERT INTO host_keys (host, port, key_type, public_key, approved_by)
VALUES (%(host)s, %(port)s, %(key_type)s, %(public_key)s, %(approved_by)s)
ON CONFLICT (host, port) DO NOTHING
RETURNING *

-- name: approve_changed
UPDATE host_keys
SET key_type = %(key_type)s, public_key = %(public_key)s, approved_by = %(approved_by)s, approved_at = now()
WHERE host = %(host)s AND port = %(port)s AND key_type = %(former_type)s AND public_key = %(former_key)s
RETURNING *

-- name: delete
DELETE FROM host_keys k
WHERE host = %(host)s AND port = %(port)s AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE d.host = k.host AND d.port = k.port AND (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))))
RETURNING *
