-- How many passwords were wrong of late: `key` stands for a user at an address, a user, or an address. `since` is when
-- the count began. Rows are deleted some minutes after `last_at`. Unlogged: after a crash of the database, counting
-- begins anew.
CREATE UNLOGGED TABLE failed_logins (
    key      bytea PRIMARY KEY,
    failures integer NOT NULL,
    since    timestamptz NOT NULL,
    last_at  timestamptz NOT NULL
);
CREATE INDEX failed_logins_last_at ON failed_logins (last_at);
