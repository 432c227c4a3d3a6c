-- Set when a session that a client was attached to loses its owner, until a client is attached again: its user comes
-- before those who had gone away.
ALTER TABLE sessions ADD COLUMN orphaned_at timestamptz;
