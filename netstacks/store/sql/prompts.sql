-- name: purge
-- An instance of the former version stores no time with the answer.
DELETE FROM host_key_prompts
WHERE created_at < now() - make_interval(secs => %(ttl_secs)s)
  AND (approved IS NOT FALSE OR coalesce(answered_at, created_at) < now() - make_interval(secs => %(rejected_secs)s))

-- name: find_open
SELECT * FROM host_key_prompts
WHERE user_id IS NOT DISTINCT FROM %(user_id)s AND host = %(host)s AND port = %(port)s
  AND fingerprint = %(fingerprint)s AND previous_fingerprint IS NOT DISTINCT FROM %(previous_fingerprint)s
  AND approved IS NULL

-- name: rejected
SELECT * FROM host_key_prompts
WHERE user_id IS NOT DISTINCT FROM %(user_id)s AND host = %(host)s AND port = %(port)s
  AND fingerprint = %(fingerprint)s AND NOT approved
  AND coalesce(answered_at, created_at) > now() - make_interval(secs => %(rejected_secs)s)
  AND (%(since)s::timestamptz IS NULL OR coalesce(answered_at, created_at) > %(since)s)
ORDER BY coalesce(answered_at, created_at) DESC
LIMIT 1

-- name: forget_rejections
DELETE FROM host_key_prompts WHERE host = %(host)s AND port = %(port)s AND NOT approved

-- name: open
INSERT INTO host_key_prompts (id, user_id, host, port, fingerprint, previous_fingerprint, previous_approved_by,
                              previous_approved_at)
VALUES (%(id)s, %(user_id)s, %(host)s, %(port)s, %(fingerprint)s, %(previous_fingerprint)s, %(previous_approved_by)s,
        %(previous_approved_at)s)
RETURNING *

-- name: pending
SELECT * FROM host_key_prompts
WHERE approved IS NULL AND created_at > now() - make_interval(secs => %(ttl_secs)s)
ORDER BY created_at

-- name: find
SELECT * FROM host_key_prompts WHERE id = %(id)s

-- name: answer
UPDATE host_key_prompts p SET approved = %(approved)s, answered_at = now(), answered_by = %(answered_by)s
WHERE id = %(id)s AND approved IS NULL
  AND (%(may_manage)s OR user_id = %(user_id)s AND (previous_fingerprint IS NULL OR NOT %(approved)s))
  AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE d.host = p.host AND d.port = p.port AND (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))))
RETURNING *

-- name: cancel
DELETE FROM host_key_prompts WHERE id = %(id)s AND approved IS NULL
