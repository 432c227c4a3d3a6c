-- name: append
INSERT INTO audit (actor_id, actor, event, resource, details, address)
VALUES (%(actor_id)s, %(actor)s, %(event)s, %(resource)s, %(details)s, %(address)s)

-- name: page
SELECT id, at, actor_id, actor, event, resource, details, address
FROM audit
WHERE (%(actor)s::text IS NULL OR actor = %(actor)s)
  AND (%(event)s::text IS NULL OR event = %(event)s)
  AND (%(family)s::text IS NULL OR starts_with(event, %(family)s))
  AND (%(resource)s::text IS NULL OR resource = %(resource)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC
LIMIT %(limit)s
