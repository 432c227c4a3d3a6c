-- Everything that must outlive an instance. Times are timestamptz; ids are UUIDs made by the program.

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    username      text NOT NULL,
    email         text,
    display_name  text,
    role          text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    password_hash text NOT NULL,
    is_active     boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz
);
CREATE UNIQUE INDEX users_username ON users (lower(username));
CREATE UNIQUE INDEX users_email ON users (lower(email));

-- One row a log-in: what a refresh token or a page cookie stands for, and what revoking ends. A page has no refresh
-- token. The hashes are of token ids: the tokens themselves are signed.
CREATE TABLE logins (
    id             uuid PRIMARY KEY,
    user_id        uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    client_type    text NOT NULL,
    refresh_hash   bytea,
    previous_hash  bytea,
    previous_until timestamptz,
    address        text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    revoked_at     timestamptz
);
CREATE INDEX logins_user ON logins (user_id);

CREATE TABLE credentials (
    id              uuid PRIMARY KEY,
    name            text NOT NULL,
    description     text,
    credential_type text NOT NULL
        CHECK (credential_type IN ('ssh_password', 'ssh_key', 'api_token', 'snmp_community', 'generic_secret')),
    username        text,
    host            text,
    port            integer,
    vault_type      text NOT NULL CHECK (vault_type IN ('personal', 'shared')),
    owner_id        uuid REFERENCES users ON DELETE CASCADE,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((vault_type = 'personal') = (owner_id IS NOT NULL))
);
CREATE INDEX credentials_owner ON credentials (owner_id);

-- Sealed values (AES-256-GCM), apart from what describes them, so that no listing ever reads one.
CREATE TABLE vault_secrets (
    credential_id uuid NOT NULL REFERENCES credentials ON DELETE CASCADE,
    field         text NOT NULL CHECK (field IN ('secret', 'enable_secret')),
    key_id        text NOT NULL,
    sealed        bytea NOT NULL,
    PRIMARY KEY (credential_id, field)
);
-- One row a master key that this database has known; its canary tells whether a key opens it.
CREATE TABLE vault_keys (
    key_id     text PRIMARY KEY,
    canary     bytea NOT NULL,
    is_current boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX vault_keys_current ON vault_keys (is_current) WHERE is_current;

CREATE TABLE devices (
    id                    uuid PRIMARY KEY,
    name                  text NOT NULL,
    host                  text NOT NULL,
    port                  integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    device_type           text NOT NULL DEFAULT '',
    manufacturer          text,
    model                 text,
    site                  text,
    description           text,
    source                text NOT NULL DEFAULT 'manual',
    legacy_algorithms     boolean NOT NULL DEFAULT false,
    default_credential_id uuid REFERENCES credentials ON DELETE SET NULL,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX devices_address ON devices (host, port);

CREATE TABLE host_keys (
    host        text NOT NULL,
    port        integer NOT NULL,
    key_type    text NOT NULL,
    public_key  text NOT NULL,
    approved_by text NOT NULL,
    approved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (host, port)
);

CREATE TABLE host_key_prompts (
    id                   uuid PRIMARY KEY,
    user_id              uuid,
    host                 text NOT NULL,
    port                 integer NOT NULL,
    fingerprint          text NOT NULL,
    previous_fingerprint text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    approved             boolean
);

-- A session's row decides who owns it: creating, claiming, releasing and ending compare and set `epoch`.
CREATE TABLE sessions (
    id             uuid PRIMARY KEY,
    user_id        uuid NOT NULL,
    username       text NOT NULL,
    device_id      uuid,
    device_name    text NOT NULL,
    host           text NOT NULL,
    port           integer NOT NULL,
    credential_id  uuid,
    term           text NOT NULL,
    cols           integer NOT NULL,
    rows           integer NOT NULL,
    owner          text,
    owner_address  text,
    epoch          integer NOT NULL CHECK (epoch >= 1),
    state          text NOT NULL CHECK (state IN ('active', 'detached', 'ended')),
    reconnect_hash bytea NOT NULL UNIQUE,
    acked_offset   bigint NOT NULL DEFAULT 0,
    recording_name text,
    started_at     timestamptz NOT NULL DEFAULT now(),
    detached_at    timestamptz,
    ended_at       timestamptz,
    end_reason     text
);
CREATE INDEX sessions_started ON sessions (started_at DESC);
CREATE INDEX sessions_live ON sessions (owner) WHERE state <> 'ended';

-- A recording is the chunks of its session in order of (epoch, seq). `events` is the encoding of store/chunks.py;
-- `sha256` covers the chunk and its predecessor's `sha256`. Times are seconds since 1970.
-- EXTERNAL: compressing 100 MB of terminal output would cost the database more CPU than the whole rest.
CREATE TABLE recording_chunks (
    session_id   uuid NOT NULL,
    epoch        integer NOT NULL,
    seq          integer NOT NULL,
    first_offset bigint NOT NULL,
    end_offset   bigint NOT NULL,
    began_at     double precision NOT NULL,
    ended_at     double precision NOT NULL,
    events       bytea NOT NULL,
    sha256       bytea NOT NULL,
    PRIMARY KEY (session_id, epoch, seq)
);
CREATE INDEX recording_chunks_offset ON recording_chunks (session_id, end_offset);
ALTER TABLE recording_chunks ALTER COLUMN events SET STORAGE EXTERNAL;

CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_id   uuid,
    actor      text NOT NULL,
    event      text NOT NULL,
    resource   text NOT NULL,
    details    jsonb NOT NULL DEFAULT '{}',
    address    text
);
CREATE INDEX audit_event ON audit (event, id DESC);
CREATE INDEX audit_resource ON audit (resource, id DESC);
CREATE INDEX audit_actor ON audit (actor, id DESC);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE TABLE session_definition_folders (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    parent_id  uuid REFERENCES session_definition_folders ON DELETE CASCADE,
    name       text NOT NULL,
    sort_order integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE session_definitions (
    id                     uuid PRIMARY KEY,
    name                   text NOT NULL,
    host                   text NOT NULL,
    port                   integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    description            text,
    credential_override_id uuid REFERENCES credentials ON DELETE SET NULL,
    cli_flavor             text NOT NULL DEFAULT 'auto',
    tags                   text[] NOT NULL DEFAULT '{}',
    created_by             uuid REFERENCES users ON DELETE SET NULL,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE session_definition_assignments (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    definition_id uuid NOT NULL REFERENCES session_definitions ON DELETE CASCADE,
    folder_id     uuid REFERENCES session_definition_folders ON DELETE SET NULL,
    sort_order    integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, definition_id)
);

CREATE TABLE user_settings (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    key     text NOT NULL,
    value   jsonb NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE TABLE settings (
    key   text PRIMARY KEY,
    value jsonb NOT NULL
);
