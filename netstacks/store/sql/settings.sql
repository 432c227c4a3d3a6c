-- name: get
SELECT value FROM settings WHERE key = %(key)s

-- name: put
INSERT INTO settings (key, value) VALUES (%(key)s, %(value)s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: remove
DELETE FROM settings WHERE key = %(key)s

-- name: some
SELECT key, value FROM settings WHERE key = ANY(%(keys)s)

-- name: changes
SELECT key, version, changed_by, changed_at FROM setting_changes WHERE key = ANY(%(keys)s)

-- name: note_change
-- No row when another administrator has changed the setting since the version that this one saw; NULL skips the check.
INSERT INTO setting_changes AS row (key, version, changed_by) VALUES (%(key)s, 1, %(changed_by)s)
ON CONFLICT (key) DO UPDATE SET version = row.version + 1, changed_by = excluded.changed_by, changed_at = now()
WHERE %(seen)s::numeric IS NULL OR row.version = %(seen)s::numeric
RETURNING version
