-- name: page
SELECT *, ({key})::text AS sort_key FROM devices
WHERE {conditions}
ORDER BY {key} {direction}, id {direction}
LIMIT %(limit)s

-- name: after
({key}, id) {comparison} (%(after_key)s::{type}, %(after_id)s)

-- name: count
SELECT count(*) AS total FROM devices WHERE {conditions}

-- name: ids
SELECT id FROM devices WHERE {conditions} ORDER BY lower(name), id LIMIT %(limit)s

-- name: lock_all
SELECT * FROM devices WHERE id = ANY(%(ids)s) AND {conditions} ORDER BY id FOR UPDATE

-- name: by_key_name
lower(name)

-- name: by_key_host
host

-- name: by_key_site
lower(coalesce(site, ''))

-- name: by_key_type
lower(device_type)

-- name: by_key_session
coalesce(session_at, '-infinity'::timestamptz)

-- name: by_key_added
created_at

-- name: with_search
(strpos(lower(name), lower(%(search)s)) > 0 OR strpos(host, %(search_host)s) > 0)

-- name: with_site
site = %(site)s

-- name: with_device_type
device_type = %(device_type)s

-- name: with_tag
tags @> ARRAY[%(tag)s::text]

-- name: with_reachability
coalesce(contact, 'unknown') = %(reachability)s

-- name: with_credential
default_credential_id = %(credential)s

-- name: within_reach
(tags && %(reach_tags)s::text[] OR site = ANY(%(reach_sites)s::text[]))

-- name: facets
WITH seen AS MATERIALIZED (SELECT site, device_type, tags, contact FROM devices WHERE {conditions})
SELECT * FROM (
    SELECT 'site' AS facet, site AS value, count(*) AS devices FROM seen WHERE site <> '' GROUP BY site
    UNION ALL
    SELECT 'device_type', device_type, count(*) FROM seen WHERE device_type <> '' GROUP BY device_type
    UNION ALL
    SELECT 'tag', tag, count(*) FROM seen CROSS JOIN unnest(tags) AS tag WHERE tag IS NOT NULL GROUP BY tag
    UNION ALL
    SELECT 'reachability', coalesce(contact, 'unknown'), count(*) FROM seen GROUP BY coalesce(contact, 'unknown')
) AS counted
ORDER BY facet, lower(value), value
