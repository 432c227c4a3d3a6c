-- name: keep_owned
UPDATE sessions AS s
SET acked_offset = given.acked_offset
FROM unnest(%(ids)s::uuid[], %(epochs)s::integer[], %(acked)s::bigint[]) AS given (id, epoch, acked_offset)
WHERE s.id = given.id AND s.epoch = given.epoch AND s.state <> 'ended'
RETURNING s.id, s.epoch

-- name: copy
COPY recording_chunks
    (session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256)
FROM STDIN (FORMAT BINARY)

-- name: stored
SELECT max(seq) AS seq FROM recording_chunks WHERE session_id = %(session_id)s AND epoch = %(epoch)s

-- name: chunks
SELECT session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256
FROM recording_chunks
WHERE session_id = %(session_id)s AND (epoch, seq) > (%(epoch)s, %(seq)s)
ORDER BY epoch, seq
LIMIT %(limit)s

-- name: last
SELECT session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256
FROM recording_chunks
WHERE session_id = %(session_id)s
ORDER BY epoch DESC, seq DESC
LIMIT 1

-- name: covering
SELECT session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256
FROM recording_chunks
WHERE session_id = %(session_id)s AND end_offset > %(offset)s
ORDER BY end_offset, epoch, seq
LIMIT %(limit)s

-- name: newest
SELECT session_id, epoch, seq, first_offset, end_offset, began_at, ended_at, events, sha256
FROM recording_chunks
WHERE session_id = %(session_id)s AND end_offset > %(after)s
ORDER BY epoch DESC, seq DESC

-- name: summaries
SELECT s.id, s.username, s.user_id, s.device_name, s.host, s.port, s.cols, s.rows, s.started_at, s.ended_at, s.state,
       s.end_reason, s.recording_name, s.epoch,
       r.bytes, r.began_at, r.last_at
FROM sessions s
LEFT JOIN LATERAL (
    SELECT max(end_offset) AS bytes, min(began_at) AS began_at, max(ended_at) AS last_at
    FROM recording_chunks WHERE session_id = s.id
) r ON true
WHERE (%(session_id)s::uuid IS NULL OR s.id = %(session_id)s)
  AND (%(user_id)s::uuid IS NULL OR s.user_id = %(user_id)s)
  AND (%(before)s::timestamptz IS NULL OR s.started_at < %(before)s)
ORDER BY s.started_at DESC
LIMIT %(limit)s

-- name: ids
SELECT DISTINCT session_id FROM recording_chunks ORDER BY session_id

-- name: rename
UPDATE sessions SET recording_name = %(name)s WHERE id = %(session_id)s RETURNING id

-- name: expired
SELECT s.id FROM sessions s
WHERE s.state = 'ended' AND s.ended_at < now() - make_interval(days => %(days)s)
  AND EXISTS (SELECT FROM recording_chunks c WHERE c.session_id = s.id)
ORDER BY s.ended_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- name: delete
DELETE FROM recording_chunks WHERE session_id = %(session_id)s
