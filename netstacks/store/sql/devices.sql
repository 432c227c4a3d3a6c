-- `legacy_algorithms` is written for instances of the former version, which read and write it during a rolling upgrade.
-- store/devices.py interprets it when a device is read, so no condition here may use `algorithms`.

-- name: create
INSERT INTO devices (id, name, host, port, device_type, manufacturer, model, site, description, source,
                     algorithms, legacy_algorithms, encoding, lines, patience_secs, default_credential_id, tags)
VALUES (%(id)s, %(name)s, %(host)s, %(port)s, %(device_type)s, %(manufacturer)s, %(model)s, %(site)s,
        %(description)s, %(source)s, %(algorithms)s, %(algorithms)s <> 'modern', %(encoding)s, %(lines)s,
        %(patience_secs)s, %(default_credential_id)s, %(tags)s)
RETURNING *

-- name: find
SELECT * FROM devices
WHERE id = %(id)s AND (NOT %(limited)s OR tags && %(reach_tags)s OR site = ANY(%(reach_sites)s))

-- name: find_by_address
SELECT * FROM devices
WHERE host = %(host)s AND port = %(port)s
  AND (NOT %(limited)s OR tags && %(reach_tags)s OR site = ANY(%(reach_sites)s))
ORDER BY created_at, id LIMIT 1

-- name: lock
SELECT * FROM devices
WHERE id = %(id)s AND (NOT %(limited)s OR tags && %(reach_tags)s OR site = ANY(%(reach_sites)s))
FOR UPDATE

-- name: update
UPDATE devices
SET name = %(name)s, host = %(host)s, port = %(port)s, device_type = %(device_type)s,
    manufacturer = %(manufacturer)s, model = %(model)s, site = %(site)s, description = %(description)s,
    algorithms = %(algorithms)s, legacy_algorithms = (%(algorithms)s <> 'modern'), encoding = %(encoding)s,
    lines = %(lines)s, patience_secs = %(patience_secs)s, default_credential_id = %(default_credential_id)s,
    tags = %(tags)s, updated_at = now(), updated_by = %(updated_by)s, version = version + 1,
    host_key_mismatch_at = CASE WHEN host = %(host)s AND port = %(port)s THEN host_key_mismatch_at END
WHERE id = %(id)s
RETURNING *

-- name: delete
DELETE FROM devices WHERE id = %(id)s

-- name: live_sessions
SELECT count(*) AS sessions FROM sessions WHERE device_id = %(id)s AND state <> 'ended'

-- name: list_page
SELECT * FROM devices
WHERE (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(device_type)s::text IS NULL OR device_type = %(device_type)s)
  AND (%(site)s::text IS NULL OR site = %(site)s)
  AND (NOT %(limited)s OR tags && %(reach_tags)s OR site = ANY(%(reach_sites)s))
  AND (%(search)s::text IS NULL
       OR strpos(lower(name), lower(%(search)s)) > 0 OR strpos(host, %(search_host)s) > 0)
ORDER BY lower(name), id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count
SELECT count(*) AS total FROM devices
WHERE (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(device_type)s::text IS NULL OR device_type = %(device_type)s)
  AND (%(site)s::text IS NULL OR site = %(site)s)
  AND (NOT %(limited)s OR tags && %(reach_tags)s OR site = ANY(%(reach_sites)s))
  AND (%(search)s::text IS NULL
       OR strpos(lower(name), lower(%(search)s)) > 0 OR strpos(host, %(search_host)s) > 0)

-- name: starting_with
SELECT * FROM devices
WHERE (starts_with(lower(name), lower(%(text)s)) OR starts_with(host, %(host)s))
  AND (NOT %(limited)s OR tags && %(reach_tags)s OR site = ANY(%(reach_sites)s))
ORDER BY (lower(name) = lower(%(text)s)) DESC, (host = %(host)s) DESC, lower(name), id
LIMIT %(limit)s

-- name: places
SELECT id, tags, site FROM devices WHERE id = ANY(%(ids)s)
