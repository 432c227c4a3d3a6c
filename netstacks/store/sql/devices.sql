-- name: create
INSERT INTO devices (id, name, host, port, device_type, manufacturer, model, site, description, source,
                     legacy_algorithms, default_credential_id)
VALUES (%(id)s, %(name)s, %(host)s, %(port)s, %(device_type)s, %(manufacturer)s, %(model)s, %(site)s,
        %(description)s, %(source)s, %(legacy_algorithms)s, %(default_credential_id)s)
RETURNING *

-- name: find
SELECT * FROM devices WHERE id = %(id)s

-- name: find_by_address
SELECT * FROM devices WHERE host = %(host)s AND port = %(port)s ORDER BY created_at, id LIMIT 1

-- name: hold
SELECT * FROM devices WHERE id = %(id)s FOR UPDATE

-- name: update
UPDATE devices
SET name = %(name)s, host = %(host)s, port = %(port)s, device_type = %(device_type)s,
    manufacturer = %(manufacturer)s, model = %(model)s, site = %(site)s, description = %(description)s,
    legacy_algorithms = %(legacy_algorithms)s, default_credential_id = %(default_credential_id)s, updated_at = now()
WHERE id = %(id)s
RETURNING *

-- name: delete
DELETE FROM devices WHERE id = %(id)s

-- name: live_sessions
SELECT count(*) AS sessions FROM sessions WHERE device_id = %(id)s AND state <> 'ended'

-- name: browse
SELECT * FROM devices
WHERE (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(device_type)s::text IS NULL OR device_type = %(device_type)s)
  AND (%(site)s::text IS NULL OR site = %(site)s)
  AND (%(search)s::text IS NULL
       OR strpos(lower(name), lower(%(search)s)) > 0 OR strpos(host, lower(%(search)s)) > 0)
ORDER BY lower(name), id
LIMIT %(limit)s OFFSET %(offset)s

-- name: count
SELECT count(*) AS total FROM devices
WHERE (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(device_type)s::text IS NULL OR device_type = %(device_type)s)
  AND (%(site)s::text IS NULL OR site = %(site)s)
  AND (%(search)s::text IS NULL
       OR strpos(lower(name), lower(%(search)s)) > 0 OR strpos(host, lower(%(search)s)) > 0)
