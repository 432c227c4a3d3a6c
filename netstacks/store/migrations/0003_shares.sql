-- Who may watch a session besides its user. A share's token is not kept: it is made anew from these columns and a key
-- that the database does not have (web/share_tokens.py), so `expires_at` is whole seconds.
CREATE TABLE shares (
    id          uuid PRIMARY KEY,
    session_id  uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    permission  text NOT NULL CHECK (permission IN ('read-only', 'read-write')),
    max_viewers integer NOT NULL CHECK (max_viewers BETWEEN 1 AND 50),
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL CHECK (expires_at = date_trunc('second', expires_at)),
    revoked_at  timestamptz
);
CREATE INDEX shares_session ON shares (session_id, created_at);
