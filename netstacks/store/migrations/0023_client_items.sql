-- The search of sessions by a user name.
CREATE INDEX sessions_username ON sessions (lower(username), started_at DESC NULLS LAST);

-- What the Terminal client stores for its user, such as snippets and mapped keys: JSON objects in collections.
CREATE TABLE client_items (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    collection text NOT NULL,
    item       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX client_items_user ON client_items (user_id, collection, created_at);
