-- name: put
INSERT INTO instance_settings (instance_id, host, peer_address, version, registry, facts)
VALUES (%(id)s, %(host)s, %(peer_address)s, %(version)s, %(registry)s, %(facts)s)
ON CONFLICT (instance_id) DO UPDATE SET
    host = excluded.host, peer_address = excluded.peer_address, version = excluded.version,
    registry = excluded.registry, facts = excluded.facts, seen_at = now()

-- name: forget_old
-- SKIP LOCKED: instances that do this at once do not wait for each other, nor for a row that is being renewed.
DELETE FROM instance_settings WHERE instance_id IN (
    SELECT instance_id FROM instance_settings
    WHERE seen_at < now() - make_interval(secs => %(age_secs)s)
    FOR UPDATE SKIP LOCKED
)

-- name: all
SELECT instance_id AS id, host, peer_address, version, registry, facts,
       extract(epoch FROM seen_at)::double precision AS seen_at,
       extract(epoch FROM now() - seen_at)::double precision AS age_secs
FROM instance_settings
ORDER BY instance_id

-- name: remove
DELETE FROM instance_settings WHERE instance_id = %(id)s
