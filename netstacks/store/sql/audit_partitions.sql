-- name: lock
-- One instance at a time creates or drops partitions, and none while another one seals.
SELECT number FROM audit_chain FOR UPDATE SKIP LOCKED

-- name: wait_briefly
-- Appends queue behind a transaction that waits for the table.
SET LOCAL lock_timeout = '1s'

-- name: all
SELECT name, since, until FROM audit_partitions ORDER BY until

-- name: edges
SELECT since FROM audit_partitions WHERE since IS NOT NULL ORDER BY since DESC

-- name: create
CREATE TABLE {name} (LIKE audit INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES INCLUDING STORAGE)

-- name: strays
SELECT 1 FROM audit_default WHERE at >= %(since)s AND at < %(until)s LIMIT 1

-- name: unprotect_default
ALTER TABLE audit_default DISABLE TRIGGER audit_append_only

-- name: move
WITH moved AS (DELETE FROM audit_default WHERE at >= %(since)s AND at < %(until)s RETURNING *)
INSERT INTO {name} SELECT * FROM moved

-- name: protect_default
ALTER TABLE audit_default ENABLE TRIGGER audit_append_only

-- name: protect
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name}
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()

-- name: attach
ALTER TABLE audit ATTACH PARTITION {name} FOR VALUES FROM ({since}) TO ({until})

-- name: note
INSERT INTO audit_partitions (name, since, until) VALUES (%(name)s, %(since)s, %(until)s)

-- name: expired
SELECT name, since, until FROM audit_partitions
WHERE until <= now() - make_interval(days => %(days)s)
ORDER BY until
LIMIT 1

-- name: any_unsealed
SELECT 1 FROM {name} a JOIN audit_waiting w ON a.id BETWEEN w.first_id AND w.last_id LIMIT 1

-- name: drop
DROP TABLE {name}

-- name: forget
DELETE FROM audit_partitions WHERE name = %(name)s

-- name: drop_seals
-- Seals of the dropped rows are emptied. Those before the first seal that keeps its rows are deleted instead, but the last
-- of them remains: its hash is what the next one builds on. To update a million seals takes minutes, to delete them seconds.
WITH dropped AS MATERIALIZED (
    SELECT coalesce((%(since)s::timestamptz AT TIME ZONE 'UTC')::date, '-infinity') AS since,
           (%(until)s::timestamptz AT TIME ZONE 'UTC')::date AS until
), left_over AS MATERIALIZED (
    SELECT coalesce((SELECT s.number FROM audit_seals s, dropped d
                     WHERE s.ids IS NOT NULL AND NOT (s.month >= d.since AND s.month < d.until)
                     ORDER BY s.number LIMIT 1),
                    (SELECT max(number) + 1 FROM audit_seals)) - 1 AS number
), seals AS MATERIALIZED (
    SELECT s.number, s.rows FROM audit_seals s, dropped d
    WHERE s.ids IS NOT NULL AND s.month >= d.since AND s.month < d.until
), deleted AS (
    DELETE FROM audit_seals s USING left_over l WHERE s.number < l.number
), emptied AS (
    UPDATE audit_seals s SET ids = NULL, digests = NULL FROM left_over l, seals
    WHERE s.number = seals.number AND seals.number >= l.number
)
SELECT count(*) AS seals, coalesce(sum(rows), 0)::bigint AS rows, max(number) AS last_seal FROM seals
