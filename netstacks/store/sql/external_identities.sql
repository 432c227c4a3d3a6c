-- name: user_of
SELECT user_id FROM external_identities WHERE provider_id = %(provider_id)s AND subject = %(subject)s

-- name: add
INSERT INTO external_identities (id, provider_id, subject, user_id, created_by, is_link)
VALUES (%(id)s, %(provider_id)s, %(subject)s, %(user_id)s, %(by)s, %(is_link)s)
ON CONFLICT DO NOTHING

-- name: note_login
UPDATE external_identities SET last_login_at = now() WHERE provider_id = %(provider_id)s AND subject = %(subject)s

-- name: links
SELECT i.id, i.subject, i.user_id, u.username, i.created_at, i.created_by, i.last_login_at
FROM external_identities i JOIN users u ON u.id = i.user_id
WHERE i.provider_id = %(provider_id)s AND i.is_link
ORDER BY lower(u.username), i.subject

-- name: roles
SELECT DISTINCT u.role FROM external_identities i JOIN users u ON u.id = i.user_id
WHERE i.provider_id = %(provider_id)s
ORDER BY u.role

-- name: remove
DELETE FROM external_identities WHERE id = %(id)s

-- name: make_external
UPDATE users SET auth_provider = 'oidc' WHERE id = %(id)s

-- name: note_origin
INSERT INTO external_logins (login_id, provider_id) VALUES (%(login_id)s, %(provider_id)s)

-- name: origin_of
SELECT provider_id FROM external_logins WHERE login_id = %(login_id)s
