-- name: server
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS is_standby, now() AS at,
       pg_postmaster_start_time() AS started_at, pg_database_size(current_database()) AS database_bytes

-- name: settings
SELECT name, setting, unit, source FROM pg_settings WHERE name = ANY(%(names)s) ORDER BY name

-- name: migrations
SELECT version, name, applied_at FROM schema_migrations ORDER BY version

-- name: tables
-- Row counts are the estimates of the last ANALYZE: to count them would read the tables.
SELECT relname AS name, pg_total_relation_size(pg_class.oid) AS bytes, reltuples::bigint AS estimated_rows
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY bytes DESC

-- name: connections
-- Instances have their id as application name. Connections of other roles show neither state nor wait event.
SELECT application_name, state, wait_event_type, count(*) AS connections
FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3

-- name: sessions
SELECT state, owner, count(*) AS sessions FROM sessions WHERE state <> 'ended' GROUP BY 1, 2 ORDER BY 1, 2

-- name: audit
SELECT event, count(*) AS times, max(at) AS last_at FROM audit WHERE at > now() - interval '1 day' GROUP BY 1 ORDER BY 1
