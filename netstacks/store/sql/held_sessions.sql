-- name: differing
SELECT sessions.*
FROM sessions JOIN unnest(%(ids)s::uuid[], %(epochs)s::bigint[], %(states)s::text[]) AS held (id, epoch, state) USING (id)
WHERE sessions.epoch <> held.epoch OR sessions.state <> held.state OR sessions.owner IS DISTINCT FROM %(instance)s
   OR sessions.end_requested IS NOT NULL
UNION ALL
SELECT * FROM sessions
WHERE state <> 'ended' AND owner = %(instance)s AND id <> ALL(%(ids)s::uuid[])
  AND (%(after)s::uuid IS NULL OR id > %(after)s::uuid) AND (%(upto)s::uuid IS NULL OR id <= %(upto)s::uuid)

-- name: missing
SELECT held.id FROM unnest(%(ids)s::uuid[]) AS held (id)
WHERE NOT EXISTS (SELECT FROM sessions WHERE sessions.id = held.id)
