-- name: page
SELECT c.*, EXISTS (SELECT 1 FROM vault_secrets s
                    WHERE s.credential_id = c.id AND s.field = 'enable_secret') AS has_enable_secret,
       (SELECT count(*) FROM devices d
        WHERE d.default_credential_id = c.id
          AND (NOT %(limited)s OR d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))) AS devices,
       (SELECT count(*) FROM session_definitions f
        WHERE f.credential_override_id = c.id AND (NOT %(limited)s OR EXISTS (
            SELECT FROM devices d
            WHERE d.host = f.host AND d.port = f.port
              AND (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))))) AS definitions,
       u.used_at, u.username AS used_by, u.device_id AS used_on_id, u.device_name AS used_on
FROM credentials c LEFT JOIN credential_uses u
    ON u.credential_id = c.id AND (NOT %(limited)s OR EXISTS (
        SELECT FROM devices d
        WHERE d.id = u.device_id AND (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))))
WHERE c.vault_type = 'shared' AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))
      AND (c.host IS NULL AND d.default_credential_id = c.id
           OR d.host = c.host AND (c.port IS NULL OR d.port = c.port))))
  AND (%(search)s::text IS NULL OR strpos(lower(c.name), lower(%(search)s)) > 0
       OR strpos(lower(coalesce(c.username, '')), lower(%(search)s)) > 0)
  AND (%(unused_days)s::int IS NULL OR u.used_at IS NULL
       OR u.used_at < now() - make_interval(days => %(unused_days)s))
  AND (NOT %(never)s OR u.used_at IS NULL)
ORDER BY lower(c.name), c.id

-- name: last_uses
SELECT u.credential_id, u.used_at, u.device_name
FROM credential_uses u JOIN credentials c ON c.id = u.credential_id
WHERE c.owner_id = %(user_id)s

-- name: definitions_using
SELECT id, name FROM session_definitions f
WHERE credential_override_id = %(id)s AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices d
    WHERE d.host = f.host AND d.port = f.port AND (d.tags && %(reach_tags)s OR d.site = ANY(%(reach_sites)s))))
ORDER BY lower(name), id LIMIT %(limit)s
