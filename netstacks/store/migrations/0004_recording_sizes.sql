-- What lists show of a recording stands on its session's row: the chunks of one recording may be a million.
-- `recording_began_at` is NULL as long as nothing is recorded; times are seconds since 1970, as in the chunks.
-- `recording_discarded`: the recording is gone for everybody, and its chunks are being removed in bounded steps.
-- `end_requested`: why the session is to end; its owner stores what it has recorded, then ends it.
ALTER TABLE sessions
    ADD COLUMN recording_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN recording_began_at double precision,
    ADD COLUMN recording_ended_at double precision,
    ADD COLUMN recording_discarded boolean NOT NULL DEFAULT false,
    ADD COLUMN end_requested text;

UPDATE sessions AS s
SET recording_bytes = r.bytes, recording_began_at = r.began_at, recording_ended_at = r.ended_at
FROM (
    SELECT session_id, max(end_offset) AS bytes, min(began_at) AS began_at, max(ended_at) AS ended_at
    FROM recording_chunks
    GROUP BY session_id
) AS r
WHERE s.id = r.session_id;

-- No index may name a column that every stored batch changes (`recording_bytes`, `recording_ended_at`,
-- `acked_offset`), not even in its condition: each batch would then write to every index of the table.
-- Why some have their nulls last is said below, at the audit log.
CREATE INDEX sessions_user ON sessions (user_id, started_at DESC NULLS LAST);
CREATE INDEX sessions_live_started ON sessions (started_at DESC) WHERE state <> 'ended';
CREATE INDEX sessions_live_user ON sessions (user_id, started_at DESC NULLS LAST) WHERE state <> 'ended';
CREATE INDEX sessions_ended_started ON sessions (started_at DESC) WHERE state = 'ended';
CREATE INDEX sessions_ended_user ON sessions (user_id, started_at DESC NULLS LAST) WHERE state = 'ended';
CREATE INDEX sessions_live_address ON sessions (host, port) WHERE state <> 'ended';
CREATE INDEX sessions_live_device ON sessions (device_id) WHERE state <> 'ended';
CREATE INDEX sessions_recorded ON sessions (ended_at) WHERE recording_began_at IS NOT NULL;
CREATE INDEX sessions_discarded ON sessions (ended_at) WHERE recording_discarded;

-- The audit log is read newest first, by time and then by id. These are the ways in, for every set of filters
-- (store/audit.py): each gives the rows of one event in that order. The order of nulls, which these columns do not have,
-- makes the four orders different ones: PostgreSQL cannot take an index that has the order but lacks a filter.
DROP INDEX audit_event, audit_resource, audit_actor;
CREATE INDEX audit_event ON audit (event, at DESC NULLS FIRST, id DESC NULLS FIRST);
CREATE INDEX audit_actor ON audit (actor, event, at DESC NULLS LAST, id DESC NULLS FIRST);
CREATE INDEX audit_resource ON audit (resource, event, at DESC NULLS FIRST, id DESC NULLS LAST);
CREATE INDEX audit_actor_resource ON audit (actor, resource, event, at DESC NULLS LAST, id DESC NULLS LAST);

-- For the other lists that show a part of a table only.
CREATE INDEX devices_name ON devices (lower(name), id);
CREATE INDEX credentials_shared ON credentials (lower(name), id) WHERE vault_type = 'shared';
CREATE INDEX session_definition_folders_user ON session_definition_folders (user_id);
CREATE INDEX logins_seats ON logins (last_seen_at) WHERE client_type = 'terminal' AND revoked_at IS NULL;
