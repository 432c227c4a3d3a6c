-- The last instance that lost the session: another one claimed it from that owner, or ended it as an orphan. Tells what
-- has become of the sessions of a lost instance.
ALTER TABLE sessions ADD COLUMN lost_owner text;

CREATE INDEX sessions_lost_owner ON sessions (lost_owner) WHERE lost_owner IS NOT NULL;
