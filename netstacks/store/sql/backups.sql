-- name: tables
-- All tables with their columns, and the tables that each refers to; but those that describe this database itself.
-- Partitions are read through their parents.
SELECT c.relname AS name,
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
       (SELECT coalesce(array_agg(DISTINCT r.relname::text), '{}')
        FROM pg_constraint k JOIN pg_class r ON r.oid = k.confrelid
        WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> k.conrelid) AS refers_to
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname NOT IN ('schema_migrations', 'audit_partitions')
ORDER BY c.relname

-- name: is_empty
SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')) AS is_empty

-- name: version
SELECT max(version) AS version FROM schema_migrations

-- name: vault_keys
SELECT key_id FROM vault_keys ORDER BY is_current DESC, key_id

-- name: clear
DELETE FROM {table}

-- name: disable_triggers
ALTER TABLE {table} DISABLE TRIGGER USER

-- name: enable_triggers
ALTER TABLE {table} ENABLE TRIGGER USER

-- name: copy_out
COPY (SELECT {columns} FROM {table}) TO STDOUT (FORMAT binary)

-- name: copy_in
COPY {table} ({columns}) FROM STDIN (FORMAT binary)

-- name: sequences
-- Those that columns own, as identity or by OWNED BY.
SELECT c.relname AS name, a.attname AS column, s.oid::regclass::text AS sequence
FROM pg_class s
JOIN pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
WHERE s.relkind = 'S' AND s.relnamespace = 'public'::regnamespace

-- name: go_on_after
SELECT setval(%(sequence)s::regclass, coalesce(max({column}), 0) + 1, false) FROM {table}

-- name: revoke_logins
UPDATE logins SET revoked_at = now() WHERE revoked_at IS NULL
