-- name: all
SELECT t.*, greatest(c.rows - t.position, 0) AS waiting
FROM audit_targets t CROSS JOIN audit_chain c
ORDER BY lower(t.name), t.id

-- name: find
SELECT t.*, greatest(c.rows - t.position, 0) AS waiting
FROM audit_targets t CROSS JOIN audit_chain c
WHERE t.id = %(id)s

-- name: lock
SELECT t.*, greatest(c.rows - t.position, 0) AS waiting
FROM audit_targets t CROSS JOIN audit_chain c
WHERE t.id = %(id)s
FOR UPDATE OF t

-- name: count
SELECT count(*) AS targets FROM audit_targets

-- name: create
-- The target gets the rows that are sealed from now on.
INSERT INTO audit_targets (id, name, type, address, ca, is_enabled, position)
SELECT %(id)s, %(name)s, %(type)s, %(address)s, %(ca)s, %(is_enabled)s, rows FROM audit_chain

-- name: update
-- Due at once: what has failed may be mended.
UPDATE audit_targets
SET name = %(name)s, type = %(type)s, address = %(address)s, ca = %(ca)s, is_enabled = %(is_enabled)s, due_at = now(),
    failures = 0, problem = NULL, failing_since = NULL, updated_by = %(by)s, version = version + 1
WHERE id = %(id)s

-- name: delete
DELETE FROM audit_targets WHERE id = %(id)s

-- name: lease
-- The targets that have rows to deliver, are due and are leased by no other instance; they are leased by this one then.
UPDATE audit_targets t
SET leased_by = %(instance)s, leased_until = now() + make_interval(secs => %(secs)s)
FROM audit_chain c
WHERE t.id IN (SELECT id FROM audit_targets
               WHERE is_enabled AND due_at <= now() AND (leased_until < now() OR leased_by = %(instance)s)
                 AND NOT id = ANY(%(busy)s) AND position < (SELECT rows FROM audit_chain)
               FOR UPDATE SKIP LOCKED)
RETURNING t.*, c.rows - t.position AS waiting

-- name: renew
UPDATE audit_targets t SET leased_until = now() + make_interval(secs => %(secs)s)
FROM audit_chain c
WHERE t.id = %(id)s AND t.leased_by = %(instance)s AND t.is_enabled
RETURNING t.*, greatest(c.rows - t.position, 0) AS waiting

-- name: delivered
UPDATE audit_targets
SET position = %(position)s, delivered_at = now(), failures = 0, problem = NULL, failing_since = NULL
WHERE id = %(id)s AND leased_by = %(instance)s AND position = %(from)s
RETURNING id

-- name: failed
UPDATE audit_targets
SET failures = failures + 1, problem = %(problem)s, failing_since = coalesce(failing_since, now()),
    due_at = now() + make_interval(secs => %(pause_secs)s), leased_until = '-infinity'
WHERE id = %(id)s AND leased_by = %(instance)s
RETURNING failing_since

-- name: release
UPDATE audit_targets SET leased_until = '-infinity' WHERE id = %(id)s AND leased_by = %(instance)s

-- name: backlog
-- By type: the rows that wait for the slowest target, and the age of the oldest of them.
SELECT t.type, max(greatest(c.rows - t.position, 0)) AS rows,
       coalesce(max(extract(epoch FROM now() - s.sealed_at)) FILTER (WHERE c.rows > t.position), 0)::float8 AS age_secs
FROM audit_targets t
CROSS JOIN audit_chain c
LEFT JOIN LATERAL (SELECT sealed_at FROM audit_seals WHERE first_row <= t.position ORDER BY first_row DESC LIMIT 1) s
    ON true
WHERE t.is_enabled
GROUP BY t.type
