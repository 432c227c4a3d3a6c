-- name: names
-- The current names; for deleted objects, the names in the rows of the log.
SELECT 'user' AS kind, id, username AS name, true AS is_current FROM users WHERE id = ANY(%(ids)s)
UNION ALL SELECT 'device', id, name, true FROM devices WHERE id = ANY(%(ids)s)
UNION ALL SELECT 'credential', id, name, true FROM credentials WHERE id = ANY(%(ids)s)
UNION ALL SELECT 'session', id, username || ' on ' || device_name, true FROM sessions WHERE id = ANY(%(ids)s)
UNION ALL SELECT 'session_definition', id, name, true FROM session_definitions WHERE id = ANY(%(ids)s)
UNION ALL SELECT 'llm_provider', id, name, true FROM llm_providers WHERE id = ANY(%(ids)s)
UNION ALL SELECT 'identity_provider', id, name, true FROM identity_providers WHERE id = ANY(%(ids)s)
UNION ALL SELECT 'audit_target', id, name, true FROM audit_targets WHERE id = ANY(%(ids)s)
UNION ALL SELECT split_part(resource, ':', 1), split_part(resource, ':', 2)::uuid, name, false
FROM (
    SELECT DISTINCT ON (resource) resource, coalesce(details ->> 'name', details ->> 'username') AS name
    FROM audit
    WHERE resource = ANY(%(resources)s) AND event = ANY(%(events)s) AND coalesce(details ->> 'name', details ->> 'username') <> ''
    ORDER BY resource, at DESC
) AS former
