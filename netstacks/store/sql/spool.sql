-- name: lock
SELECT pg_advisory_xact_lock(hashtextextended('netstacks spool ' || %(name)s, 0))
