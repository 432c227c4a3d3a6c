-- name: get
SELECT value FROM settings WHERE key = %(key)s

-- name: put
INSERT INTO settings (key, value) VALUES (%(key)s, %(value)s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
