-- What a session has recorded, in bytes of events as they are before compression: `recorded_bytes` in all, and
-- `recorded_before_day` of it before `recorded_day`, which is a day of UTC. Like `recording_bytes` they change with every
-- stored batch, so no index names them.
ALTER TABLE sessions
    ADD COLUMN recorded_bytes bigint NOT NULL DEFAULT 0,
    ADD COLUMN recorded_day date,
    ADD COLUMN recorded_before_day bigint NOT NULL DEFAULT 0;

-- Of sessions that go on, the output alone is known.
UPDATE sessions SET recorded_bytes = recording_bytes WHERE state <> 'ended' AND recording_bytes > 0;

-- Failed log-ins that have no audit row of their own, because there were too many: how many from each network, until one
-- audit row tells it.
CREATE TABLE failed_login_counts (
    network  text PRIMARY KEY,
    attempts bigint NOT NULL,
    since    timestamptz NOT NULL DEFAULT now(),
    last_at  timestamptz NOT NULL DEFAULT now()
);
