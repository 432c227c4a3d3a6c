-- name: head
-- Locks the end of the chain; nothing when no row waits, when the last seal is younger than the pause, or while another
-- transaction seals or drops a partition. A seal of a clock that was ahead delays no other one.
SELECT number, sha256, rows, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us
FROM audit_chain c
WHERE EXISTS (SELECT FROM audit_waiting)
  AND NOT EXISTS (SELECT FROM audit_seals s
                  WHERE s.number = c.number AND s.sealed_at <= clock_timestamp()
                    AND s.sealed_at > clock_timestamp() - make_interval(secs => %(pause_secs)s))
FOR UPDATE SKIP LOCKED

-- name: waiting
SELECT first_id, last_id FROM audit_waiting ORDER BY first_id LIMIT %(limit)s

-- name: of_ids
SELECT id, date_trunc('month', at AT TIME ZONE 'UTC')::date::text AS month,
       jsonb_build_array(extract(epoch FROM at)::text, actor_id, actor, event, resource, details, address)::text AS text
FROM audit
WHERE id = ANY(%(ids)s)
ORDER BY id

-- name: of_range
SELECT id, date_trunc('month', at AT TIME ZONE 'UTC')::date::text AS month,
       jsonb_build_array(extract(epoch FROM at)::text, actor_id, actor, event, resource, details, address)::text AS text
FROM audit
WHERE id BETWEEN %(first_id)s AND %(last_id)s
ORDER BY id
LIMIT %(limit)s

-- name: not_waiting
DELETE FROM audit_waiting WHERE first_id = ANY(%(first_ids)s)

-- name: wait
INSERT INTO audit_waiting (first_id, last_id) VALUES (%(first_id)s, %(last_id)s)

-- name: seal
INSERT INTO audit_seals (number, first_row, rows, first_id, last_id, month, since, until, ids, digests, sha256, sealed_at)
SELECT %(number)s, %(first_row)s, %(rows)s, %(first_id)s, %(last_id)s, %(month)s::date, min(at), max(at), %(ids)s,
       %(digests)s, %(sha256)s, 'epoch'::timestamptz + %(sealed_us)s * interval '1 microsecond'
FROM audit
WHERE id = ANY(%(ids)s)

-- name: advance
UPDATE audit_chain SET number = %(number)s, sha256 = %(sha256)s, rows = %(rows)s

-- name: state
SELECT c.number, c.rows, encode(c.sha256, 'hex') AS sha256, s.sealed_at,
       (SELECT greatest(0, least(coalesce(sum(last_id::numeric - first_id + 1), 0), 1e15))::bigint
        FROM (SELECT * FROM audit_waiting LIMIT %(most)s) AS counted) AS waiting
FROM audit_chain c LEFT JOIN audit_seals s ON s.number = c.number

-- name: feed
-- Rows of the chain from a position on. Of one that is missing there is the position alone. The inner LIMIT makes
-- PostgreSQL look each row up in its partition: it would join whole partitions.
WITH seal AS (SELECT number FROM audit_seals WHERE first_row <= %(position)s ORDER BY first_row DESC LIMIT 1),
wanted AS MATERIALIZED (
    SELECT s.number AS seal, s.sha256, s.since, s.until, s.first_row + t.ordinal - 1 AS position, t.id
    FROM seal, audit_seals s CROSS JOIN LATERAL unnest(s.ids) WITH ORDINALITY AS t (id, ordinal)
    WHERE s.number >= seal.number AND s.number < seal.number + %(limit)s
      AND s.first_row + t.ordinal - 1 >= %(position)s
    ORDER BY s.number, t.ordinal
    LIMIT %(limit)s
)
SELECT w.seal, encode(w.sha256, 'hex') AS head, w.position,
       a.id, a.at, a.actor_id, a.actor, a.event, a.resource, a.details, a.address
FROM wanted w
LEFT JOIN LATERAL (SELECT * FROM audit WHERE id = w.id AND at >= w.since AND at <= w.until LIMIT 1) AS a
    ON true
ORDER BY w.position

-- name: next_after
SELECT coalesce((SELECT first_row FROM audit_seals WHERE first_row > %(position)s AND ids IS NOT NULL
                 ORDER BY first_row LIMIT 1),
                (SELECT rows FROM audit_chain)) AS position

-- name: seals
-- The next seals, until they have enough rows.
SELECT number, first_row, rows, first_id, last_id, month::text AS month, ids, digests, sha256,
       (extract(epoch FROM sealed_at) * 1000000)::bigint AS sealed_us,
       ids IS NOT NULL AND until >= coalesce(%(since)s::timestamptz, '-infinity')
       AND (%(until)s::timestamptz IS NULL OR since < %(until)s) AS is_wanted
FROM (SELECT *, sum(rows) OVER (ORDER BY number) - rows AS rows_before
      FROM (SELECT * FROM audit_seals WHERE number > %(after)s AND number <= %(last)s
            ORDER BY number LIMIT %(limit)s) AS next) AS counted
WHERE rows_before < %(rows)s
ORDER BY number

-- name: is_dropped
SELECT ids IS NULL AS is_dropped FROM audit_seals WHERE number = %(number)s

-- name: chain
SELECT number, sha256, rows FROM audit_chain

-- name: dropped_until
-- The end of the last partition that retention has dropped. It drops the oldest one, so this entry of the log covers all
-- months before it; and the entries of earlier ones are dropped, too.
SELECT left(details ->> 'until', 10) AS until
FROM audit
WHERE event = 'audit.partition_dropped' AND jsonb_typeof(details) = 'object' AND details ->> 'until' IS NOT NULL
ORDER BY until DESC
LIMIT 1

-- name: unsealed
-- Rows of a range of ids that neither are sealed nor wait for it: they were not written by way of the table `audit`.
SELECT id FROM audit WHERE id BETWEEN %(first_id)s AND %(last_id)s
EXCEPT
SELECT unnest(ids) FROM audit_seals
WHERE numrange(first_id, last_id, '[]') && numrange(%(first_id)s, %(last_id)s, '[]')
EXCEPT
SELECT a.id FROM audit a JOIN audit_waiting w ON a.id BETWEEN w.first_id AND w.last_id
WHERE a.id BETWEEN %(first_id)s AND %(last_id)s AND w.last_id >= %(first_id)s AND w.first_id <= %(last_id)s
ORDER BY id
LIMIT 1

-- name: next_id
SELECT id FROM audit WHERE id >= %(id)s ORDER BY id LIMIT 1

-- name: last_id
SELECT max(id) AS id FROM audit

-- name: count_waiting
SELECT count(*) AS rows FROM audit a JOIN audit_waiting w ON a.id BETWEEN w.first_id AND w.last_id
