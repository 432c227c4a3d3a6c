-- name: figures
-- Only what every role may read: pg_stat_database instead of counting pg_stat_activity, which hides the connections of
-- other roles. `oldest_transaction_secs` covers the transactions that this role may see. Sizes are of files, so no
-- table is read; to_regclass yields NULL before the schema exists.
SELECT current_setting('server_version') AS version,
       (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections,
       current_setting('max_connections')::int AS connections_limit,
       pg_is_in_recovery() AS in_recovery,
       pg_total_relation_size(to_regclass('recording_chunks')) AS recordings_bytes,
       (SELECT greatest(0, extract(epoch FROM now() - min(xact_start)))::float8
        FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) AS oldest_transaction_secs

-- name: replicas
-- Without the role pg_monitor, PostgreSQL shows only that a standby is there: state and lag are NULL. The lag of a
-- standby that has replayed everything is NULL too once the primary is idle, hence the comparison.
SELECT coalesce(nullif(application_name, ''), client_addr::text, pid::text) AS name,
       state,
       CASE WHEN replay_lsn >= sent_lsn THEN 0.0 ELSE extract(epoch FROM replay_lag)::float8 END AS lag_secs
FROM pg_stat_replication
ORDER BY name

-- name: position_of_primary
SELECT pg_current_wal_lsn()::text AS wal_position

-- name: position_of_standby
-- The last transaction ages while the primary is idle, hence the comparison. Without a WAL receiver it proves nothing:
-- the standby has replayed all that it received, and receives nothing more.
SELECT pg_last_wal_replay_lsn()::text AS wal_position,
       CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver)
            THEN 0.0
            ELSE greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp()))::float8
       END AS replay_lag_secs
