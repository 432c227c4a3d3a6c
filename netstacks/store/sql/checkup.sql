-- name: abilities
-- Settings of a database or role apply only to new connections, so they are read from the catalog as well. A table that
-- does not exist yet is not denied.
SELECT pg_is_in_recovery() AS in_recovery,
       current_setting('transaction_read_only')::bool OR coalesce((
           SELECT split_part(setting, '=', 2)::bool
           FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS setting
           WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
             AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
             AND starts_with(setting, 'default_transaction_read_only=')
           ORDER BY setrole <> 0 DESC, setdatabase <> 0 DESC
           LIMIT 1
       ), false) AS read_only,
       current_user AS role,
       ARRAY(
           SELECT relname::text
           FROM unnest(%(tables)s::text[]) AS known (name)
           JOIN pg_class ON pg_class.oid = to_regclass(known.name)
           WHERE NOT (
               has_table_privilege(pg_class.oid, 'SELECT')
               AND has_table_privilege(pg_class.oid, 'INSERT')
               AND (relname = %(append_only)s OR has_table_privilege(pg_class.oid, 'UPDATE'))
               AND (relname = %(append_only)s OR has_table_privilege(pg_class.oid, 'DELETE'))
           )
           ORDER BY relname
       ) AS denied

-- name: take_space
CREATE TEMPORARY TABLE netstacks_space ON COMMIT DROP AS
SELECT repeat(md5(number::text), 32) FROM generate_series(1, 1000) AS number
