-- name: reached
-- No row for a counter below its limit. Without locks: `reserve` checks again.
SELECT row.key,
       extract(epoch FROM greatest(least(row.last_at, now()), now() - make_interval(secs => %(window_secs)s)) - now())
           + least(limits.longest_secs, %(first_secs)s * 2 ^ least(row.failures - limits.free, 20)) AS secs
FROM failed_logins AS row
JOIN unnest(%(key)s::bytea[], %(free)s::integer[], %(longest_secs)s::integer[], %(is_sliding)s::boolean[])
    AS limits (key, free, longest_secs, is_sliding) USING (key)
WHERE row.failures >= limits.free
  AND CASE WHEN limits.is_sliding THEN row.last_at ELSE row.since END > now() - make_interval(secs => %(window_secs)s)

-- name: reserve
-- If all waits of a group are over, the next ones begin. Of several concurrent attempts one gets the locks; the others
-- wait for them, and then see that the next waits have begun. The lock order is that of `note`.
WITH reached AS (
    SELECT row.key, limits."group",
           extract(epoch FROM greatest(least(row.last_at, now()), now() - make_interval(secs => %(window_secs)s)) - now())
               + least(limits.longest_secs, %(first_secs)s * 2 ^ least(row.failures - limits.free, 20)) AS secs
    FROM failed_logins AS row
    JOIN unnest(%(key)s::bytea[], %(free)s::integer[], %(longest_secs)s::integer[], %(group)s::integer[])
        AS limits (key, free, longest_secs, "group") USING (key)
    WHERE row.failures >= limits.free
    ORDER BY row.key
    FOR UPDATE OF row
), reserved AS (
    UPDATE failed_logins SET last_at = now()
    WHERE key IN (
        SELECT key FROM reached WHERE "group" NOT IN (SELECT "group" FROM reached WHERE secs > 0)
    )
)
SELECT "group", max(secs) AS secs FROM reached GROUP BY "group"

-- name: note_pair
INSERT INTO failed_logins AS row (key, failures, since, last_at)
VALUES (%(key)s, 1, now(), now())
ON CONFLICT (key) DO UPDATE SET
    failures = CASE WHEN row.last_at < now() - make_interval(secs => %(window_secs)s) THEN 1
                    ELSE least(row.failures, 1000000) + 1 END,
    last_at = now()
RETURNING failures

-- name: note
INSERT INTO failed_logins AS row (key, failures, since, last_at)
VALUES (%(key)s, 1, now(), now())
ON CONFLICT (key) DO UPDATE SET
    failures = CASE WHEN row.since < now() - make_interval(secs => %(window_secs)s) THEN 1
                    ELSE least(row.failures, 1000000) + 1 END,
    since = CASE WHEN row.since < now() - make_interval(secs => %(window_secs)s) THEN now() ELSE row.since END,
    last_at = now()
RETURNING failures

-- name: forgive
DELETE FROM failed_logins WHERE key = %(key)s

-- name: sweep
-- Rows that another sweep or an attempt has locked are left to the next sweep.
DELETE FROM failed_logins WHERE key IN (
    SELECT key FROM failed_logins
    WHERE last_at < now() - make_interval(secs => %(window_secs)s)
       OR last_at < (SELECT last_at FROM failed_logins ORDER BY last_at DESC OFFSET %(most_rows)s LIMIT 1)
    LIMIT %(step)s
    FOR UPDATE SKIP LOCKED
)
