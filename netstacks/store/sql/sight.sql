-- name: own
sessions.user_id = %(seer_id)s

-- name: own_or_within
(sessions.user_id = %(seer_id)s
 OR EXISTS (SELECT FROM devices d
            WHERE d.id = sessions.device_id
              AND (d.tags && %(reach_tags)s::text[] OR d.site = ANY(%(reach_sites)s::text[]))))

-- name: is_one_of
sessions.id = ANY(%(ids)s::uuid[])

-- name: seen_sessions
SELECT id FROM sessions WHERE {conditions}

-- name: seen_resources
WITH within AS (
    SELECT id, host, port, default_credential_id FROM devices
    WHERE NOT %(limited)s OR tags && %(reach_tags)s::text[] OR site = ANY(%(reach_sites)s::text[])
)
SELECT 'device:' || id AS resource FROM within WHERE id = ANY(%(device)s::uuid[])
UNION ALL SELECT 'session:' || s.id FROM sessions s
WHERE s.id = ANY(%(session)s::uuid[])
  AND (s.user_id = %(seer_id)s OR s.device_id IN (SELECT id FROM within))
UNION ALL SELECT 'session_definition:' || f.id FROM session_definitions f
WHERE f.id = ANY(%(session_definition)s::uuid[])
  AND EXISTS (SELECT FROM within w WHERE w.host = f.host AND w.port = f.port)
UNION ALL SELECT 'credential:' || c.id FROM credentials c
WHERE c.id = ANY(%(credential)s::uuid[])
  AND (c.owner_id = %(seer_id)s
       OR c.vault_type = 'shared' AND EXISTS (
           SELECT FROM within w
           WHERE c.host IS NULL AND w.default_credential_id = c.id
              OR w.host = c.host AND (c.port IS NULL OR w.port = c.port)))
UNION ALL SELECT kind || ':' || host || ':' || port FROM within, (VALUES ('host'), ('address')) AS kinds (kind)
WHERE host || ':' || port = ANY(%(addresses)s::text[])
