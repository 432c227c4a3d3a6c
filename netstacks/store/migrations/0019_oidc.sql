-- Single sign-on by OpenID Connect. `version` grows with each change of a provider or of its mappings: an administrator
-- who saves an older version is refused. An empty claim is not read; without a default role a user without a mapped
-- group is refused. `origins`: the addresses of the controller that the provider may send users back to.
CREATE TABLE identity_providers (
    id             uuid PRIMARY KEY,
    name           text NOT NULL,
    issuer         text NOT NULL,
    client_id      text NOT NULL,
    scopes         text NOT NULL DEFAULT 'openid profile email',
    username_claim text NOT NULL DEFAULT 'preferred_username',
    email_claim    text NOT NULL DEFAULT 'email',
    groups_claim   text NOT NULL DEFAULT 'groups',
    origins        text[] NOT NULL DEFAULT '{}',
    default_role   text REFERENCES roles ON UPDATE CASCADE ON DELETE SET NULL,
    enabled        boolean NOT NULL DEFAULT true,
    position       integer NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    updated_by     text NOT NULL
);
CREATE UNIQUE INDEX identity_providers_name ON identity_providers (lower(name));

-- The first mapping by position whose group a user has gives the role.
CREATE TABLE group_mappings (
    id          uuid PRIMARY KEY,
    provider_id uuid NOT NULL REFERENCES identity_providers ON DELETE CASCADE,
    position    integer NOT NULL,
    group_name  text NOT NULL,
    role        text NOT NULL REFERENCES roles ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE UNIQUE INDEX group_mappings_group ON group_mappings (provider_id, group_name);

-- The user who logs in as a subject of a provider. It belongs to the provider's row, not to the issuer: another row for
-- the same issuer, with a client of its own, must not log in the users of this one. `is_link`: an administrator has
-- chosen the user, no log-in has created it.
CREATE TABLE external_identities (
    id            uuid PRIMARY KEY,
    provider_id   uuid NOT NULL REFERENCES identity_providers ON DELETE CASCADE,
    subject       text NOT NULL,
    user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    text NOT NULL,
    is_link       boolean NOT NULL,
    last_login_at timestamptz
);
CREATE UNIQUE INDEX external_identities_subject ON external_identities (provider_id, subject);
CREATE INDEX external_identities_user ON external_identities (user_id);

-- The provider that a log-in came from, to log out there too.
CREATE TABLE external_logins (
    login_id    uuid PRIMARY KEY REFERENCES logins ON DELETE CASCADE,
    provider_id uuid NOT NULL REFERENCES identity_providers ON DELETE CASCADE
);
CREATE INDEX external_logins_provider ON external_logins (provider_id);

-- 'oidc' for a user whom a log-in by single sign-on has created: without a password.
ALTER TABLE users ADD COLUMN auth_provider text NOT NULL DEFAULT 'local' CHECK (auth_provider IN ('local', 'oidc'));

-- The client secret lies in the vault, where a change of the master key finds it.
ALTER TABLE vault_secrets
    DROP CONSTRAINT vault_secrets_field_check,
    ADD CONSTRAINT vault_secrets_field_check
        CHECK (field IN ('secret', 'enable_secret', 'provider_key', 'mail_password', 'client_secret')),
    ADD COLUMN of_identity_provider uuid
        GENERATED ALWAYS AS (CASE WHEN field = 'client_secret' THEN credential_id END) STORED
        REFERENCES identity_providers ON DELETE CASCADE;
CREATE INDEX vault_secrets_of_identity_provider ON vault_secrets (of_identity_provider);
