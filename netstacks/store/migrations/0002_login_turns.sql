-- One row for each log-in at a device that some instance is about: there are so many turns, and no more. `until` frees
-- the turn of an instance that died. Unlogged: after a crash of the database nobody has one.
CREATE UNLOGGED TABLE login_turns (
    host   text NOT NULL,
    port   integer NOT NULL,
    turn   integer NOT NULL,
    holder uuid NOT NULL,
    until  timestamptz NOT NULL,
    PRIMARY KEY (host, port, turn)
);
