-- Who changed a setting last, and when. A row stays when the setting goes back to its default, so that `version` only
-- grows: an administrator who saves an older version is refused.
CREATE TABLE setting_changes (
    key        text PRIMARY KEY,
    version    bigint NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- The notices that are to be sent by mail. `key` names what happened: all instances that see it write one row. An
-- instance that sends a notice first sets `due_at` to a time by which it has succeeded or failed.
CREATE TABLE notices (
    key        text PRIMARY KEY,
    subject    text NOT NULL,
    body       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at     timestamptz NOT NULL DEFAULT now(),
    attempts   integer NOT NULL DEFAULT 0,
    sent_at    timestamptz,
    problem    text
);
CREATE INDEX notices_due ON notices (due_at) WHERE sent_at IS NULL;

-- The password for mail lies in the vault, where a change of the master key finds it. It belongs to no credential and to
-- no provider. A generated column cannot be given another expression before PostgreSQL 17.
ALTER TABLE vault_secrets
    DROP CONSTRAINT vault_secrets_field_check,
    ADD CONSTRAINT vault_secrets_field_check
        CHECK (field IN ('secret', 'enable_secret', 'provider_key', 'mail_password')),
    DROP COLUMN of_credential,
    ADD COLUMN of_credential uuid
        GENERATED ALWAYS AS (CASE WHEN field IN ('secret', 'enable_secret') THEN credential_id END) STORED
        REFERENCES credentials ON DELETE CASCADE;
CREATE INDEX vault_secrets_of_credential ON vault_secrets (of_credential);
