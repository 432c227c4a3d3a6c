-- What each living instance says of itself, so that instances that do not know each other find their differences. An
-- instance renews its row while it lives; `facts` is JSON without secrets, which other versions may have written.
CREATE TABLE instance_settings (
    instance_id  text PRIMARY KEY,
    host         text NOT NULL,
    peer_address text NOT NULL,
    version      text NOT NULL,
    registry     text NOT NULL,
    facts        jsonb NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT now()
);
