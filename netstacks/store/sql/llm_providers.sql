-- name: begin
-- No row when the list was filled before. Of several concurrent instances, one gets the row.
INSERT INTO settings (key, value) VALUES (%(key)s, '0') ON CONFLICT DO NOTHING RETURNING key

-- name: next_revision
-- The row stays locked until the transaction ends, so changes and their numbers are serialised. A value that is no
-- number is replaced by one above the revisions of the entries.
INSERT INTO settings AS counter (key, value) VALUES (%(key)s, '1')
ON CONFLICT (key) DO UPDATE SET value = to_jsonb(1 + CASE jsonb_typeof(counter.value)
    WHEN 'number' THEN least(greatest((counter.value)::numeric, 0), 1e15)::bigint
    ELSE (SELECT coalesce(max(least(revision, 1e15)), 0)::bigint FROM llm_providers)
END)
RETURNING (value)::bigint AS revision

-- name: lock_list
-- Every change locks this row first, so that two changes cannot deadlock.
SELECT 1 FROM settings WHERE key = %(key)s FOR UPDATE

-- name: create
INSERT INTO llm_providers (id, name, type, base_url, models, position, enabled, connect_secs, first_token_secs,
                           total_secs, max_concurrent, daily_tokens, revision, updated_by)
SELECT %(id)s, %(name)s, %(type)s, %(base_url)s, %(models)s, coalesce(max(position), 0) + 1, %(enabled)s,
       %(connect_secs)s, %(first_token_secs)s, %(total_secs)s, %(max_concurrent)s, %(daily_tokens)s, %(revision)s,
       %(updated_by)s
FROM llm_providers

-- name: update
UPDATE llm_providers
SET name = %(name)s, base_url = %(base_url)s, models = %(models)s, enabled = %(enabled)s,
    connect_secs = %(connect_secs)s, first_token_secs = %(first_token_secs)s, total_secs = %(total_secs)s,
    max_concurrent = %(max_concurrent)s, daily_tokens = %(daily_tokens)s, revision = %(revision)s,
    updated_at = now(), updated_by = %(updated_by)s
WHERE id = %(id)s

-- name: move
UPDATE llm_providers
SET position = %(position)s, revision = %(revision)s, updated_at = now(), updated_by = %(updated_by)s
WHERE id = %(id)s AND position <> %(position)s

-- name: delete
DELETE FROM llm_providers WHERE id = %(id)s

-- name: namesake
SELECT 1 FROM llm_providers WHERE lower(name) = lower(%(name)s) AND id <> %(id)s

-- name: all
SELECT p.*, EXISTS (SELECT 1 FROM vault_secrets s WHERE s.of_provider = p.id) AS has_key
FROM llm_providers p
ORDER BY position, lower(name)

-- name: find
SELECT p.*, EXISTS (SELECT 1 FROM vault_secrets s WHERE s.of_provider = p.id) AS has_key
FROM llm_providers p
WHERE id = %(id)s
