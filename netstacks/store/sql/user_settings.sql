-- name: get
SELECT value FROM user_settings WHERE user_id = %(user_id)s AND key = %(key)s

-- name: put
INSERT INTO user_settings (user_id, key, value)
SELECT %(user_id)s, %(key)s, %(value)s
WHERE (SELECT count(*) FROM user_settings WHERE user_id = %(user_id)s AND key <> %(key)s) < %(max_keys)s
ON CONFLICT (user_id, key) DO UPDATE SET value = excluded.value

-- name: delete
DELETE FROM user_settings WHERE user_id = %(user_id)s AND key = %(key)s
