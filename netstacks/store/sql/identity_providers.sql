-- name: lock_list
-- Every change takes this lock first, so that two changes cannot deadlock.
SELECT pg_advisory_xact_lock(hashtext('netstacks.identity_providers'))

-- name: create
INSERT INTO identity_providers (id, name, issuer, client_id, scopes, username_claim, email_claim, groups_claim,
                                origins, default_role, enabled, position, updated_by)
SELECT %(id)s, %(name)s, %(issuer)s, %(client_id)s, %(scopes)s, %(username_claim)s, %(email_claim)s, %(groups_claim)s,
       %(origins)s, %(default_role)s, %(enabled)s, coalesce(max(position), 0) + 1, %(updated_by)s
FROM identity_providers

-- name: update
UPDATE identity_providers
SET name = %(name)s, issuer = %(issuer)s, client_id = %(client_id)s, scopes = %(scopes)s,
    username_claim = %(username_claim)s, email_claim = %(email_claim)s, groups_claim = %(groups_claim)s,
    origins = %(origins)s, default_role = %(default_role)s, enabled = %(enabled)s, version = version + 1, updated_at = now(),
    updated_by = %(updated_by)s
WHERE id = %(id)s

-- name: touch
UPDATE identity_providers SET version = version + 1, updated_at = now(), updated_by = %(by)s WHERE id = %(id)s

-- name: move
UPDATE identity_providers SET position = %(position)s WHERE id = %(id)s

-- name: delete
DELETE FROM identity_providers WHERE id = %(id)s

-- name: namesake
SELECT 1 FROM identity_providers WHERE lower(name) = lower(%(name)s) AND id <> %(id)s

-- name: all
SELECT p.*, EXISTS (SELECT 1 FROM vault_secrets s WHERE s.of_identity_provider = p.id) AS has_secret
FROM identity_providers p
ORDER BY position, lower(name)

-- name: find
SELECT p.*, EXISTS (SELECT 1 FROM vault_secrets s WHERE s.of_identity_provider = p.id) AS has_secret
FROM identity_providers p
WHERE id = %(id)s

-- name: mappings
SELECT id, group_name, role FROM group_mappings WHERE provider_id = %(provider_id)s ORDER BY position, group_name

-- name: add_mapping
INSERT INTO group_mappings (id, provider_id, position, group_name, role)
SELECT %(id)s, %(provider_id)s, coalesce(max(position), 0) + 1, %(group_name)s, %(role)s
FROM group_mappings WHERE provider_id = %(provider_id)s
ON CONFLICT DO NOTHING

-- name: move_mapping
UPDATE group_mappings SET position = %(position)s WHERE id = %(id)s AND provider_id = %(provider_id)s

-- name: remove_mapping
DELETE FROM group_mappings WHERE id = %(id)s AND provider_id = %(provider_id)s RETURNING id, group_name, role
