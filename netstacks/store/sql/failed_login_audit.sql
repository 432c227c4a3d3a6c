-- name: rows_of_hour
SELECT count(*) AS rows
FROM (SELECT FROM audit WHERE event = %(event)s AND at > now() - interval '1 hour' LIMIT %(most)s) AS written

-- name: count
INSERT INTO failed_login_counts AS row (network, attempts) VALUES (%(network)s, 1)
ON CONFLICT (network) DO UPDATE SET attempts = row.attempts + 1, last_at = now()

-- name: take_counts
-- One row for each of the networks with the most attempts, and one without a network for all others. Rows that another
-- transaction has locked are left to the next call.
WITH taken AS (
    DELETE FROM failed_login_counts WHERE network IN (
        SELECT network FROM failed_login_counts
        WHERE since <= now() - make_interval(secs => %(age_secs)s)
        ORDER BY since
        LIMIT %(step)s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING network, attempts, since, last_at
), ranked AS (
    SELECT *, row_number() OVER (ORDER BY attempts DESC, network) AS place FROM taken
)
SELECT CASE WHEN place <= %(most)s THEN network END AS network, count(*) AS networks, sum(attempts)::bigint AS attempts,
       min(since) AS since, max(last_at) AS last_at
FROM ranked
GROUP BY 1
ORDER BY attempts DESC
