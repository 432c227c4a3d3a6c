-- name: find
SELECT * FROM host_keys WHERE host = %(host)s AND port = %(port)s

-- name: all
SELECT * FROM host_keys ORDER BY host, port

-- name: remember
INSERT INTO host_keys (host, port, key_type, public_key, approved_by)
VALUES (%(host)s, %(port)s, %(key_type)s, %(public_key)s, %(approved_by)s)
ON CONFLICT (host, port) DO UPDATE
SET key_type = excluded.key_type, public_key = excluded.public_key, approved_by = excluded.approved_by,
    approved_at = now()
RETURNING *

-- name: forget
DELETE FROM host_keys WHERE host = %(host)s AND port = %(port)s RETURNING *
