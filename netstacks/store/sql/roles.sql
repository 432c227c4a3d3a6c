-- name: permits
SELECT name, permissions, device_tags, device_sites FROM roles WHERE name = %(name)s

-- name: all
SELECT roles.*, coalesce(held.users, 0) AS users
FROM roles LEFT JOIN (SELECT role, count(*) AS users FROM users GROUP BY role) AS held ON held.role = roles.name
ORDER BY is_builtin DESC, name

-- name: get
SELECT roles.*, (SELECT count(*) FROM users WHERE users.role = roles.name) AS users
FROM roles WHERE name = %(name)s

-- name: lock
SELECT name FROM roles WHERE name = ANY(%(names)s) FOR KEY SHARE

-- name: insert
INSERT INTO roles (name, description, permissions, device_tags, device_sites, created_by, updated_by)
VALUES (%(name)s, %(description)s, %(permissions)s, %(device_tags)s, %(device_sites)s, %(by)s, %(by)s)
ON CONFLICT (name) DO NOTHING

-- name: update
UPDATE roles
SET description = %(description)s, permissions = %(permissions)s, device_tags = %(device_tags)s,
    device_sites = %(device_sites)s, updated_at = now(), updated_by = %(by)s, version = version + 1
WHERE name = %(name)s

-- name: delete
DELETE FROM roles WHERE name = %(name)s

-- name: mapped
SELECT FROM group_mappings WHERE role = %(name)s
UNION ALL
SELECT FROM identity_providers WHERE default_role = %(name)s
LIMIT 1

-- name: end_unowned_beyond
UPDATE sessions
SET epoch = epoch + 1, state = 'ended', ended_at = now(), end_reason = %(reason)s
FROM users
WHERE users.id = sessions.user_id AND users.role = %(role)s AND sessions.state <> 'ended' AND sessions.owner IS NULL
  AND NOT (%(connects)s AND (NOT %(limited)s OR EXISTS (
      SELECT FROM devices
      WHERE devices.id = sessions.device_id
        AND (devices.tags && %(reach_tags)s OR devices.site = ANY(%(reach_sites)s)))))
RETURNING sessions.id

-- name: request_end_beyond
UPDATE sessions SET end_requested = %(reason)s
FROM users
WHERE users.id = sessions.user_id AND users.role = %(role)s AND sessions.state <> 'ended' AND sessions.owner IS NOT NULL
  AND NOT (%(connects)s AND (NOT %(limited)s OR EXISTS (
      SELECT FROM devices
      WHERE devices.id = sessions.device_id
        AND (devices.tags && %(reach_tags)s OR devices.site = ANY(%(reach_sites)s)))))
RETURNING sessions.id
