-- name: page
SELECT listed.*,
       (SELECT count(*) FROM logins
        WHERE logins.user_id = listed.id AND logins.revoked_at IS NULL AND logins.expires_at > now()) AS logins,
       (SELECT count(*) FROM sessions
        WHERE sessions.user_id = listed.id AND sessions.state <> 'ended') AS sessions
FROM (
    SELECT id, username, email, display_name, role, is_active, created_at, last_login_at,
           auth_provider, version
    FROM users
    WHERE {conditions}
    ORDER BY lower(username)
    LIMIT %(limit)s OFFSET %(offset)s
) AS listed
ORDER BY lower(username)

-- name: count
SELECT count(*) AS total FROM users WHERE {conditions}

-- name: with_id
id = %(id)s

-- name: with_search
(strpos(lower(username), lower(%(search)s)) > 0 OR strpos(lower(email), lower(%(search)s)) > 0
 OR strpos(lower(display_name), lower(%(search)s)) > 0)

-- name: with_role
role = %(role)s

-- name: with_is_active
is_active = %(is_active)s
