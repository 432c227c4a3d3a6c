-- What a session has recorded, in bytes of events as they are before compression: `recorded_bytes` in all, and
-- `recorded_before_day` of it before `recorded_day`, which is a day of UTC. Like `recording_bytes` they change with every
-- stored batch, so no index names them. What was recorded before this migration is not counted: it had no limit.
ALTER TABLE sessions
    ADD COLUMN recorded_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN recorded_day date,
    ADD COLUMN recorded_before_day bigint NOT NULL DEFAULT 0;

-- What a user's sessions that have ended today have recorded.
CREATE INDEX sessions_recorded_of_user ON sessions (user_id, ended_at)
WHERE state = 'ended' AND recording_began_at IS NOT NULL;

-- Failed log-ins that have no audit row of their own, because there were too many: how many from each network, until one
-- audit row tells it.
CREATE TABLE failed_login_counts (
    network  text PRIMARY KEY,
    attempts bigint NOT NULL,
    since    timestamptz NOT NULL DEFAULT now(),
    last_at  timestamptz NOT NULL DEFAULT now()
);
