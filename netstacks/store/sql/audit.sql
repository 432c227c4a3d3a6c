-- name: append
INSERT INTO audit (actor_id, actor, event, resource, details, address)
VALUES (%(actor_id)s, %(actor)s, %(event)s, %(resource)s, %(details)s, %(address)s)

-- name: time_of
SELECT at, at::text AS exact_at FROM audit WHERE id >= %(id)s ORDER BY id LIMIT 1

-- name: events
-- The distinct events, by one index lookup each (loose index scan).
WITH RECURSIVE found (event) AS (
    SELECT (SELECT event FROM audit WHERE {conditions} ORDER BY event LIMIT 1)
    UNION ALL
    SELECT (SELECT event FROM audit WHERE {conditions} AND event > found.event ORDER BY event LIMIT 1)
    FROM found WHERE found.event IS NOT NULL
)
SELECT event FROM found WHERE starts_with(event, %(family)s)

-- name: rows
-- Ordered and limited, so that PostgreSQL merges several of these as it reads them. There are no nulls: the NULLS clause
-- makes the order match only the index that begins with the filter columns (store/queries.py, `mark`).
(SELECT id, at, actor_id, actor, event, resource, details, address
 FROM audit
 WHERE {conditions}
   AND at >= coalesce(%(since)s::timestamptz, '-infinity')
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
