-- name: create
INSERT INTO session_definitions (id, name, host, port, description, credential_override_id, cli_flavor, tags, created_by)
VALUES (%(id)s, %(name)s, %(host)s, %(port)s, %(description)s, %(credential_override_id)s, %(cli_flavor)s, %(tags)s,
        %(created_by)s)

-- name: find
SELECT d.*, (SELECT count(*) FROM sessions s
             WHERE s.host = d.host AND s.port = d.port AND s.state <> 'ended') AS active_connections
FROM session_definitions d
WHERE id = %(id)s AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices
    WHERE devices.host = d.host AND devices.port = d.port
      AND (devices.tags && %(reach_tags)s OR devices.site = ANY(%(reach_sites)s))))

-- name: all
SELECT d.*, (SELECT count(*) FROM sessions s
             WHERE s.host = d.host AND s.port = d.port AND s.state <> 'ended') AS active_connections
FROM session_definitions d
WHERE (NOT %(limited)s OR EXISTS (
    SELECT FROM devices
    WHERE devices.host = d.host AND devices.port = d.port
      AND (devices.tags && %(reach_tags)s OR devices.site = ANY(%(reach_sites)s))))
ORDER BY lower(name), id

-- name: live_connections
SELECT host, port, count(*) AS sessions FROM sessions WHERE state <> 'ended' GROUP BY host, port

-- name: lock
SELECT d.*, (SELECT count(*) FROM sessions s
             WHERE s.host = d.host AND s.port = d.port AND s.state <> 'ended') AS active_connections
FROM session_definitions d
WHERE id = %(id)s AND (NOT %(limited)s OR EXISTS (
    SELECT FROM devices
    WHERE devices.host = d.host AND devices.port = d.port
      AND (devices.tags && %(reach_tags)s OR devices.site = ANY(%(reach_sites)s))))
FOR UPDATE

-- name: update
UPDATE session_definitions
SET name = %(name)s, host = %(host)s, port = %(port)s, description = %(description)s,
    credential_override_id = %(credential_override_id)s, cli_flavor = %(cli_flavor)s, tags = %(tags)s,
    updated_at = now()
WHERE id = %(id)s

-- name: delete
DELETE FROM session_definitions WHERE id = %(id)s

-- name: assign
INSERT INTO session_definition_assignments (id, user_id, definition_id, folder_id, sort_order)
VALUES (%(id)s, %(user_id)s, %(definition_id)s, %(folder_id)s, coalesce(%(sort_order)s, 0))
ON CONFLICT (user_id, definition_id) DO UPDATE
SET folder_id = excluded.folder_id,
    sort_order = coalesce(%(sort_order)s, session_definition_assignments.sort_order)
RETURNING *

-- name: assignments
SELECT * FROM session_definition_assignments WHERE user_id = %(user_id)s ORDER BY sort_order, created_at, id
