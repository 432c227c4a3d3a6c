-- name: purge
DELETE FROM host_key_prompts WHERE created_at < now() - make_interval(secs => %(ttl_secs)s)

-- name: find_open
SELECT * FROM host_key_prompts
WHERE user_id IS NOT DISTINCT FROM %(user_id)s AND host = %(host)s AND port = %(port)s
  AND fingerprint = %(fingerprint)s AND approved IS NULL

-- name: open
INSERT INTO host_key_prompts (id, user_id, host, port, fingerprint, previous_fingerprint)
VALUES (%(id)s, %(user_id)s, %(host)s, %(port)s, %(fingerprint)s, %(previous_fingerprint)s)
RETURNING *

-- name: pending
SELECT * FROM host_key_prompts
WHERE approved IS NULL AND created_at > now() - make_interval(secs => %(ttl_secs)s)
ORDER BY created_at

-- name: find
SELECT * FROM host_key_prompts WHERE id = %(id)s

-- name: answer
UPDATE host_key_prompts SET approved = %(approved)s
WHERE id = %(id)s AND approved IS NULL AND (user_id = %(user_id)s OR %(is_admin)s)
RETURNING *

-- name: withdraw
DELETE FROM host_key_prompts WHERE id = %(id)s AND approved IS NULL
