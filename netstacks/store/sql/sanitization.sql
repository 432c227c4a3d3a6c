-- name: of_user
SELECT s.credential_id, s.field, s.key_id, s.sealed
FROM vault_secrets s
JOIN credentials c ON c.id = s.credential_id
LEFT JOIN sessions about ON about.id = %(session_id)s
WHERE (c.vault_type = 'shared' OR c.owner_id IN (%(user_id)s, about.user_id) OR c.id = about.credential_id)
  AND NOT (c.credential_type = 'ssh_key' AND s.field = 'secret')
ORDER BY c.vault_type = 'shared', c.updated_at DESC, s.credential_id, s.field
LIMIT %(limit)s
