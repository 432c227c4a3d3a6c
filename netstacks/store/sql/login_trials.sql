-- name: find
SELECT accepted AND version = %(version)s AS is_known_good,
       CASE WHEN version = %(version)s AND refused_until > now()
            THEN extract(epoch FROM refused_until - now())::float END AS refused_for_secs,
       reason,
       trying_until > now() AND holder <> %(holder)s AS is_being_tried
FROM login_trials
WHERE credential_id = %(credential_id)s AND host = %(host)s AND port = %(port)s

-- name: begin
-- Of two concurrent connections, the second waits for the first one's row lock, and gets no row.
INSERT INTO login_trials AS mine (credential_id, host, port, version, holder, trying_until)
VALUES (%(credential_id)s, %(host)s, %(port)s, %(version)s, %(holder)s, now() + make_interval(secs => %(lease_secs)s))
ON CONFLICT (credential_id, host, port) DO UPDATE
SET version = excluded.version,
    holder = excluded.holder,
    trying_until = excluded.trying_until,
    accepted = mine.accepted AND mine.version = excluded.version,
    refusals = CASE WHEN mine.version = excluded.version THEN mine.refusals ELSE 0 END,
    refused_until = CASE WHEN mine.version = excluded.version THEN mine.refused_until END,
    reason = CASE WHEN mine.version = excluded.version THEN mine.reason END
WHERE mine.trying_until IS NULL OR mine.trying_until <= now() OR mine.holder = excluded.holder
RETURNING 1

-- name: renew
UPDATE login_trials SET trying_until = now() + make_interval(secs => %(lease_secs)s)
WHERE credential_id = %(credential_id)s AND host = %(host)s AND port = %(port)s AND holder = %(holder)s

-- name: release
UPDATE login_trials SET holder = NULL, trying_until = NULL
WHERE credential_id = %(credential_id)s AND host = %(host)s AND port = %(port)s AND holder = %(holder)s

-- name: accepted
UPDATE login_trials
SET accepted = true, refusals = 0, refused_until = NULL, reason = NULL, holder = NULL, trying_until = NULL
WHERE credential_id = %(credential_id)s AND host = %(host)s AND port = %(port)s AND version = %(version)s

-- name: refused
-- Also resets a known good secret, because the device's may have changed. Several refusals of concurrent connections
-- count once.
INSERT INTO login_trials AS mine (credential_id, host, port, version, refusals, refused_until, reason)
VALUES (%(credential_id)s, %(host)s, %(port)s, %(version)s, 1, now() + make_interval(secs => (%(hold_offs)s::float[])[1]),
        %(reason)s)
ON CONFLICT (credential_id, host, port) DO UPDATE
SET version = excluded.version,
    accepted = false,
    refusals = CASE WHEN mine.version <> excluded.version THEN 1
                    WHEN mine.refused_until > now() THEN mine.refusals
                    ELSE mine.refusals + 1 END,
    refused_until = CASE WHEN mine.version = excluded.version AND mine.refused_until > now() THEN mine.refused_until
        ELSE now() + make_interval(secs => (%(hold_offs)s::float[])[
            CASE WHEN mine.version = excluded.version
                 THEN least(mine.refusals + 1, array_length(%(hold_offs)s::float[], 1)) ELSE 1 END]) END,
    reason = excluded.reason,
    holder = NULL,
    trying_until = NULL

-- name: begin_test
-- What is known of the stored secret stays as it is. A new row has no version, so it says nothing of any secret.
INSERT INTO login_trials AS mine (credential_id, host, port, version, tested_at)
VALUES (%(credential_id)s, %(host)s, %(port)s, '', ARRAY[now()])
ON CONFLICT (credential_id, host, port) DO UPDATE
SET tested_at = ARRAY(SELECT at FROM unnest(mine.tested_at) AS at WHERE at > now() - make_interval(secs => %(secs)s))
                || now()
WHERE (SELECT count(*) FROM unnest(mine.tested_at) AS at WHERE at > now() - make_interval(secs => %(secs)s)) < %(most)s
RETURNING 1
