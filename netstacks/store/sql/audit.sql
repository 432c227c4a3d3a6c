-- name: append
INSERT INTO audit (actor_id, actor, event, resource, details, address)
VALUES (%(actor_id)s, %(actor)s, %(event)s, %(resource)s, %(details)s, %(address)s)

-- name: time_of
SELECT at, at::text AS exact_at FROM audit WHERE id >= %(id)s ORDER BY id LIMIT 1

-- name: edges
-- Where the partitions with wanted rows begin; NULL for the first one. Partitions of the future belong to the present.
-- And where they end, or the wanted rows if these end later.
SELECT since, greatest(until - interval '1 microsecond', %(until)s::timestamptz)::text AS last_at
FROM audit_partitions
WHERE until > coalesce(%(since)s::timestamptz, '-infinity')
  AND (since IS NULL OR since <= least(%(until)s::timestamptz, now()))
ORDER BY since DESC NULLS LAST

-- name: events
-- The distinct events in some partitions, by one index lookup each (loose index scan). The bounds are those of partitions:
-- with an earlier one PostgreSQL before 18 would read all newer rows of an event to find one that is old enough.
WITH RECURSIVE found (event) AS (
    SELECT (SELECT event FROM audit
            WHERE {conditions} AND at >= %(span_since)s::timestamptz AND at <= %(span_last)s::timestamptz
            ORDER BY event LIMIT 1)
    UNION ALL
    SELECT (SELECT event FROM audit
            WHERE {conditions} AND at >= %(span_since)s::timestamptz AND at <= %(span_last)s::timestamptz
              AND event > found.event
            ORDER BY event LIMIT 1)
    FROM found WHERE found.event IS NOT NULL
)
SELECT event FROM found WHERE starts_with(event, %(family)s)

-- name: rows
-- Ordered and limited, so that PostgreSQL merges several of these as it reads them. There are no nulls: the NULLS clause
-- makes the order match only the index that begins with the filter columns (store/queries.py, `mark`). The bounds of the
-- span only leave out partitions.
(SELECT id, at, actor_id, actor, event, resource, details, address
 FROM audit
 WHERE {conditions}
   AND at >= greatest(%(since)s::timestamptz, %(span_since)s::timestamptz) AND at <= %(span_until)s::timestamptz
   AND (at, id) < (coalesce(%(end_at)s::timestamptz, 'infinity'), %(end_id)s)
 ORDER BY at DESC NULLS {actor_mark}, id DESC NULLS {resource_mark}
 LIMIT %(limit)s)

-- name: merged
SELECT * FROM ({rows}) AS merged
ORDER BY at DESC NULLS {actor_mark}, id DESC NULLS {resource_mark}
LIMIT %(limit)s

-- name: by_actor
actor = %(actor)s

-- name: on_resource
resource = %(resource)s

-- name: is_event
event = {event}
