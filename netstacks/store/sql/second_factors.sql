-- name: lock
-- Checks and changes of a user's factors take turns in the whole cluster.
SELECT pg_advisory_xact_lock(hashtext('netstacks.second_factors'), hashtext(%(user_id)s::uuid::text))

-- name: held
SELECT user_id, kind FROM (
    SELECT user_id, 'totp' AS kind FROM totp_factors
    UNION
    SELECT user_id, 'passkey' AS kind FROM passkeys
) AS held
WHERE user_id = ANY(%(user_ids)s)
ORDER BY kind DESC

-- name: must_set_up
-- An identity provider has a second factor of its own, or none: it decides for its users.
SELECT EXISTS (
    SELECT FROM logins JOIN users ON users.id = logins.user_id
    WHERE logins.id = %(login_id)s AND users.auth_provider = 'local'
      AND NOT EXISTS (SELECT FROM external_logins WHERE external_logins.login_id = logins.id)
      AND NOT EXISTS (SELECT FROM totp_factors WHERE totp_factors.user_id = users.id)
      AND NOT EXISTS (SELECT FROM passkeys WHERE passkeys.user_id = users.id)
) AS has_none

-- name: totp
SELECT created_at, last_used_at FROM totp_factors WHERE user_id = %(user_id)s

-- name: put_totp
INSERT INTO totp_factors AS row (user_id, last_step) VALUES (%(user_id)s, %(step)s)
ON CONFLICT (user_id) DO UPDATE
SET last_step = greatest(row.last_step, excluded.last_step), created_at = now(), last_used_at = NULL

-- name: spend_step
UPDATE totp_factors SET last_step = %(step)s, last_used_at = now()
WHERE user_id = %(user_id)s AND last_step < %(step)s

-- name: remove_totp
DELETE FROM totp_factors WHERE user_id = %(user_id)s

-- name: passkeys
SELECT * FROM passkeys WHERE user_id = %(user_id)s ORDER BY created_at, id

-- name: passkey_by_credential
SELECT * FROM passkeys WHERE credential_id = %(credential_id)s FOR UPDATE

-- name: add_passkey
INSERT INTO passkeys (id, user_id, name, rp_id, credential_id, public_key, sign_count, transports, is_backed_up)
VALUES (
    %(id)s, %(user_id)s, %(name)s, %(rp_id)s, %(credential_id)s, %(public_key)s, %(sign_count)s, %(transports)s,
    %(is_backed_up)s
)
ON CONFLICT (credential_id) DO NOTHING
RETURNING *

-- name: note_passkey_use
UPDATE passkeys SET sign_count = %(sign_count)s, is_backed_up = %(is_backed_up)s, last_used_at = now()
WHERE id = %(id)s

-- name: rename_passkey
UPDATE passkeys SET name = %(name)s WHERE id = %(id)s AND user_id = %(user_id)s RETURNING *

-- name: remove_passkey
DELETE FROM passkeys WHERE id = %(id)s AND user_id = %(user_id)s RETURNING *

-- name: remove_passkeys
DELETE FROM passkeys WHERE user_id = %(user_id)s

-- name: recovery_codes_left
SELECT count(*) AS codes FROM recovery_codes WHERE user_id = %(user_id)s AND used_at IS NULL

-- name: use_recovery_code
UPDATE recovery_codes SET used_at = now()
WHERE user_id = %(user_id)s AND hash = %(hash)s AND used_at IS NULL

-- name: remove_recovery_codes
DELETE FROM recovery_codes WHERE user_id = %(user_id)s

-- name: add_recovery_codes
INSERT INTO recovery_codes (user_id, hash) SELECT %(user_id)s, unnest(%(hashes)s::bytea[])

-- name: spend
INSERT INTO spent_challenges (hash, expires_at) VALUES (%(hash)s, %(expires_at)s) ON CONFLICT DO NOTHING

-- name: forget_expired
DELETE FROM spent_challenges WHERE expires_at < now() - interval '1 hour'
