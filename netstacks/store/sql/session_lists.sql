-- name: page
-- The filters have no index: PostgreSQL tests them on a limited number of sessions.
SELECT * FROM (
    SELECT * FROM sessions
    WHERE {conditions} AND started_at < coalesce(%(before)s::timestamptz, 'infinity')
    ORDER BY started_at DESC NULLS {leading_mark}
    LIMIT %(most)s
) AS sessions
WHERE {filters}
ORDER BY started_at DESC NULLS {leading_mark}
LIMIT %(limit)s

-- name: last_searched
-- The last session that a page tests with its filters; none when there are fewer.
SELECT started_at FROM sessions
WHERE {conditions} AND started_at < coalesce(%(before)s::timestamptz, 'infinity')
ORDER BY started_at DESC NULLS {leading_mark}
LIMIT 1 OFFSET %(most)s - 1

-- name: of_user
user_id = %(user_id)s

-- name: of_username
lower(username) = lower(%(username)s)

-- name: of_owner
-- An ended session has no owner.
owner = %(owner)s AND state <> 'ended'

-- name: is_live
state <> 'ended'

-- name: has_ended
state = 'ended'

-- name: on_device
strpos(lower(device_name), lower(%(device)s)) > 0
