-- name: count
SELECT key, failures FROM failed_logins
WHERE key = ANY (%(keys)s) AND since > now() - make_interval(secs => %(window_secs)s)

-- name: reserve
-- The wait is over and the next one begins. Of several attempts at the same moment one gets the row.
UPDATE failed_logins SET last_at = now()
WHERE key = %(key)s
  AND last_at > now() - make_interval(secs => %(window_secs)s)
  AND failures >= %(free)s
  AND last_at + make_interval(
          secs => least(%(longest_secs)s, %(first_secs)s * 2 ^ least(failures - %(free)s, 20))
      ) <= now()
RETURNING failures

-- name: wait_secs
-- No row where nothing has to be waited for.
SELECT extract(epoch FROM last_at - now())
    + least(%(longest_secs)s, %(first_secs)s * 2 ^ least(failures - %(free)s, 20)) AS secs
FROM failed_logins
WHERE key = %(key)s AND last_at > now() - make_interval(secs => %(window_secs)s) AND failures >= %(free)s

-- name: note_pair
INSERT INTO failed_logins AS row (key, failures, since, last_at)
VALUES (%(key)s, 1, now(), now())
ON CONFLICT (key) DO UPDATE SET
    failures = CASE WHEN row.last_at < now() - make_interval(secs => %(window_secs)s) THEN 1 ELSE row.failures + 1 END,
    last_at = now()

-- name: note
INSERT INTO failed_logins AS row (key, failures, since, last_at)
VALUES (%(key)s, 1, now(), now())
ON CONFLICT (key) DO UPDATE SET
    failures = CASE WHEN row.since < now() - make_interval(secs => %(window_secs)s) THEN 1 ELSE row.failures + 1 END,
    since = CASE WHEN row.since < now() - make_interval(secs => %(window_secs)s) THEN now() ELSE row.since END,
    last_at = now()
RETURNING failures

-- name: forgive
DELETE FROM failed_logins WHERE key = %(key)s

-- name: sweep
-- What another sweep, or an attempt, has locked is left to the next one.
DELETE FROM failed_logins WHERE key IN (
    SELECT key FROM failed_logins
    WHERE last_at < now() - make_interval(secs => %(window_secs)s)
       OR last_at < (SELECT last_at FROM failed_logins ORDER BY last_at DESC OFFSET %(most_rows)s LIMIT 1)
    LIMIT %(step)s
    FOR UPDATE SKIP LOCKED
)
