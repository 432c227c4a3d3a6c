-- name: put
-- Instances that count at the same time may exceed the limit by some rows, which does no harm.
INSERT INTO notices (key, subject, body)
SELECT %(key)s, %(subject)s, %(body)s
WHERE (SELECT count(*) FROM notices WHERE sent_at IS NULL AND attempts < %(most_attempts)s) < %(most_waiting)s
ON CONFLICT (key) DO NOTHING

-- name: take
-- SKIP LOCKED: instances that look at once take different notices. No other instance takes the notice before `due_at`.
UPDATE notices SET attempts = attempts + 1, due_at = now() + make_interval(secs => %(lease_secs)s)
WHERE key = (
    SELECT key FROM notices
    WHERE sent_at IS NULL AND due_at <= now() AND attempts < %(most_attempts)s
    ORDER BY due_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING key, subject, body, created_at, attempts

-- name: sent
UPDATE notices SET sent_at = now(), problem = %(problem)s WHERE key = %(key)s

-- name: failed
UPDATE notices SET problem = %(problem)s, due_at = now() + make_interval(secs => %(wait_secs)s)
WHERE key = %(key)s AND sent_at IS NULL

-- name: sweep
DELETE FROM notices WHERE created_at < now() - make_interval(days => %(days)s)
