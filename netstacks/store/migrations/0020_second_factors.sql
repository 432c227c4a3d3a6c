-- Second factors of local users. The secret of an authenticator app lies in the vault, where a change of the master key
-- finds it. `last_step` is the 30 seconds of the last code: each code is accepted once.
CREATE TABLE totp_factors (
    user_id      uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    last_step    bigint NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz
);

-- A passkey works at one site only: `rp_id` is the host name that the browser has bound it to.
CREATE TABLE passkeys (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name          text NOT NULL,
    rp_id         text NOT NULL,
    credential_id bytea NOT NULL UNIQUE,
    public_key    bytea NOT NULL,
    sign_count    bigint NOT NULL,
    transports    text[] NOT NULL DEFAULT '{}',
    is_backed_up  boolean NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz
);
CREATE INDEX passkeys_user ON passkeys (user_id);

-- SHA-256 of random codes of 80 bits.
CREATE TABLE recovery_codes (
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    hash       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,
    PRIMARY KEY (user_id, hash)
);

-- Tickets and challenges that were used, until they expire: they are signed, and no instance remembers them.
CREATE TABLE spent_challenges (
    hash       bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX spent_challenges_expiry ON spent_challenges (expires_at);

-- `credential_id` is the id of the user, for whom the generated column holds the foreign key.
ALTER TABLE vault_secrets
    DROP CONSTRAINT vault_secrets_field_check,
    ADD CONSTRAINT vault_secrets_field_check
        CHECK (field IN ('secret', 'enable_secret', 'provider_key', 'mail_password', 'client_secret', 'totp')),
    ADD COLUMN of_totp_factor uuid GENERATED ALWAYS AS (CASE WHEN field = 'totp' THEN credential_id END) STORED
        REFERENCES totp_factors ON DELETE CASCADE;
CREATE INDEX vault_secrets_of_totp_factor ON vault_secrets (of_totp_factor);
