-- name: lock_user
SELECT pg_advisory_xact_lock(hashtext('netstacks.sessions_of_user'), hashtext(%(user_id)s::uuid::text))

-- name: lock_address
SELECT pg_advisory_xact_lock(hashtext('netstacks.sessions_at'), hashtext(%(host)s::text || ' ' || %(port)s::integer))

-- name: sessions_of_user
SELECT count(*) AS sessions FROM sessions WHERE user_id = %(user_id)s AND state <> 'ended'

-- name: sessions_at
SELECT count(*) AS sessions FROM sessions WHERE host = %(host)s AND port = %(port)s AND state <> 'ended'

-- name: recorded_today
-- Two parts, each with its own index: the users' live sessions, and those that have ended today.
WITH today AS MATERIALIZED (
    SELECT (now() AT TIME ZONE 'UTC')::date AS day
), recorded AS (
    SELECT user_id, recorded_bytes - recorded_before_day AS bytes
    FROM sessions
    WHERE user_id = ANY(%(user_ids)s::uuid[]) AND state <> 'ended' AND recorded_day = (SELECT day FROM today)
    UNION ALL
    SELECT user_id, recorded_bytes - recorded_before_day
    FROM sessions
    WHERE ended_at >= date_trunc('day', now(), 'UTC') AND recording_began_at IS NOT NULL AND state = 'ended'
      AND user_id = ANY(%(user_ids)s::uuid[]) AND recorded_day = (SELECT day FROM today)
)
SELECT today.day, recorded.user_id, coalesce(sum(recorded.bytes), 0)::bigint AS bytes
FROM today LEFT JOIN recorded ON true
GROUP BY today.day, recorded.user_id
