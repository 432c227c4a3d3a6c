-- name: wait_for_message
SELECT current_setting('idle_in_transaction_session_timeout') AS usual,
       set_config('idle_in_transaction_session_timeout', '20s', true)

-- name: save
-- One statement locks the sessions' rows and inserts the chunks. The chunks are unnested in a select list, not in FROM,
-- where PostgreSQL would materialise all of them first, on disk if they are many.
WITH owned AS (
    UPDATE sessions AS s
    SET acked_offset = greatest(s.acked_offset, given.acked_offset),
        recording_bytes = greatest(s.recording_bytes, given.bytes),
        recording_began_at = least(s.recording_began_at, given.began_at),
        recording_ended_at = greatest(s.recording_ended_at, given.ended_at),
        recorded_bytes = greatest(s.recorded_bytes, given.recorded),
        recorded_day = (now() AT TIME ZONE 'UTC')::date,
        recorded_before_day = CASE WHEN s.recorded_day = (now() AT TIME ZONE 'UTC')::date
                                   THEN s.recorded_before_day ELSE s.recorded_bytes END
    FROM unnest(
        %(ids)b::uuid[], %(epochs)s::integer[], %(acked)s::bigint[], %(bytes)s::bigint[],
        %(began)s::double precision[], %(ended)s::double precision[], %(recorded)s::bigint[]
    ) AS given (id, epoch, acked_offset, bytes, began_at, ended_at, recorded)
    WHERE s.id = given.id AND s.epoch = given.epoch AND s.state <> 'ended'
    RETURNING s.id, s.epoch
), stored AS (
    INSERT INTO recording_chunks
        (session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256, codec)
    SELECT given.*
    FROM (
        SELECT unnest(%(session_id)b::uuid[]),
               unnest(%(epoch)s::integer[]),
               unnest(%(seq)s::integer[]),
               unnest(%(first_offset)s::bigint[]),
               unnest(%(end_offset)s::bigint[]),
               unnest(%(began_at)s::double precision[]),
               unnest(%(ended_at)s::double precision[]),
               unnest(%(events)b::bytea[]),
               unnest(%(sha256)b::bytea[]),
               unnest(%(codec)s::text[])
    ) AS given (session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256, codec)
    JOIN owned ON owned.id = given.session_id AND owned.epoch = given.epoch
    ON CONFLICT (session_id, epoch, seq) DO NOTHING
    RETURNING 1
)
SELECT id, epoch, (SELECT count(*) FROM stored) AS chunks
FROM set_config('idle_in_transaction_session_timeout', %(idle)s, true)
LEFT JOIN owned ON true

-- name: server
SELECT pg_postmaster_start_time() AS started_at

-- name: count_same
SELECT count(*) AS same
FROM unnest(%(ids)s::uuid[], %(epochs)s::integer[], %(seqs)s::integer[], %(sums)s::bytea[])
     AS given (session_id, epoch, seq, sha256)
JOIN recording_chunks USING (session_id, epoch, seq, sha256)

-- name: append
WITH noted AS (
    UPDATE sessions
    SET recording_bytes = greatest(recording_bytes, %(end_offset)s),
        recording_began_at = least(recording_began_at, %(began_at)s),
        recording_ended_at = greatest(recording_ended_at, %(ended_at)s)
    WHERE id = %(session_id)s
)
INSERT INTO recording_chunks
    (session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256, codec)
VALUES (%(session_id)s, %(epoch)s, %(seq)s, %(first_offset)s, %(end_offset)s, %(began_at)s, %(ended_at)s, %(events)s,
        %(sha256)s, %(codec)s)

-- name: stored
SELECT max(seq) AS seq FROM recording_chunks WHERE session_id = %(session_id)s AND epoch = %(epoch)s

-- name: chunks
SELECT session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256, codec
FROM recording_chunks
WHERE session_id = %(session_id)s AND (epoch, seq) > (%(epoch)s, %(seq)s)
  AND NOT EXISTS (SELECT FROM sessions WHERE id = %(session_id)s AND recording_discarded)
ORDER BY epoch, seq
LIMIT %(limit)s

-- name: last
SELECT session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256, codec
FROM recording_chunks
WHERE session_id = %(session_id)s
ORDER BY epoch DESC, seq DESC
LIMIT 1

-- name: covering
SELECT session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256, codec
FROM recording_chunks
WHERE session_id = %(session_id)s AND end_offset > %(offset)s
ORDER BY end_offset, epoch, seq
LIMIT %(limit)s

-- name: newest
SELECT session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256, codec
FROM recording_chunks
WHERE session_id = %(session_id)s AND end_offset > %(after)s
ORDER BY epoch DESC, seq DESC

-- name: summaries
SELECT id, username, user_id, device_name, host, port, cols, rows, started_at, ended_at, state, end_reason,
       recording_name, epoch, recording_bytes AS bytes, recording_began_at AS began_at, recording_ended_at AS last_at
FROM sessions
WHERE {conditions} AND started_at < coalesce(%(before)s::timestamptz, 'infinity')
ORDER BY started_at DESC NULLS {user_mark}
LIMIT %(limit)s

-- name: of_session
id = %(session_id)s

-- name: ids
SELECT id FROM sessions WHERE recording_began_at IS NOT NULL ORDER BY ended_at

-- name: rename
UPDATE sessions SET recording_name = %(name)s WHERE id = %(session_id)s RETURNING id

-- name: expired
SELECT id, recording_bytes FROM sessions
WHERE ended_at < now() - make_interval(days => %(days)s) AND recording_began_at IS NOT NULL AND state = 'ended'
ORDER BY ended_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- name: discard
UPDATE sessions
SET recording_discarded = true, recording_bytes = 0, recording_began_at = NULL, recording_ended_at = NULL
WHERE id = ANY(%(ids)s::uuid[]) AND state = 'ended'
RETURNING id

-- name: discarded
SELECT id FROM sessions WHERE recording_discarded ORDER BY ended_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED

-- name: sweep
DELETE FROM recording_chunks
WHERE ctid = ANY(ARRAY(
    SELECT ctid
    FROM (
        SELECT ctid, sum(bytes) OVER (ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before
        FROM (
            SELECT chunk.*
            FROM unnest(%(ids)s::uuid[]) AS gone (id)
            CROSS JOIN LATERAL (
                SELECT ctid, octet_length(events) AS bytes FROM recording_chunks
                WHERE session_id = gone.id
                ORDER BY epoch, seq
                LIMIT %(limit)s
            ) AS chunk
            LIMIT %(limit)s
        ) AS next
    ) AS counted
    WHERE bytes_before < %(limit_bytes)s
))

-- name: swept
UPDATE sessions AS s
SET recording_discarded = false, recording_bytes = 0, recording_began_at = NULL, recording_ended_at = NULL
WHERE id = ANY(%(ids)s::uuid[]) AND NOT EXISTS (SELECT FROM recording_chunks c WHERE c.session_id = s.id)
