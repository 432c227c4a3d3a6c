-- The providers of language models, in the order in which they are tried. A NULL time stands for the default of the
-- settings; 0 of a limit or a budget stands for none. `revision` is the number of the last change of the entry, counted
-- over all entries (the key `llm.providers` of `settings`).
CREATE TABLE llm_providers (
    id               uuid PRIMARY KEY,
    name             text NOT NULL,
    type             text NOT NULL
        CHECK (type IN ('anthropic', 'openai', 'openrouter', 'ollama', 'litellm', 'custom')),
    base_url         text NOT NULL,
    models           text[] NOT NULL CHECK (cardinality(models) > 0),
    position         integer NOT NULL,
    enabled          boolean NOT NULL,
    connect_secs     double precision CHECK (connect_secs > 0),
    first_token_secs double precision CHECK (first_token_secs > 0),
    total_secs       double precision CHECK (total_secs > 0),
    max_concurrent   integer NOT NULL CHECK (max_concurrent >= 0),
    daily_tokens     bigint NOT NULL CHECK (daily_tokens >= 0),
    revision         bigint NOT NULL,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    updated_by       text NOT NULL
);
CREATE UNIQUE INDEX llm_providers_name ON llm_providers (lower(name));

-- The key of a provider lies in the vault beside the secrets of credentials, where a change of the master key finds it.
-- `credential_id` is the id of either of them: instances of the former version, which read and write the column during a
-- rolling upgrade, go on with what they know. The generated columns hold the foreign keys.
ALTER TABLE vault_secrets
    DROP CONSTRAINT vault_secrets_credential_id_fkey,
    DROP CONSTRAINT vault_secrets_field_check,
    ADD CONSTRAINT vault_secrets_field_check CHECK (field IN ('secret', 'enable_secret', 'provider_key')),
    ADD COLUMN of_credential uuid GENERATED ALWAYS AS (CASE WHEN field <> 'provider_key' THEN credential_id END) STORED
        REFERENCES credentials ON DELETE CASCADE,
    ADD COLUMN of_provider uuid GENERATED ALWAYS AS (CASE WHEN field = 'provider_key' THEN credential_id END) STORED
        REFERENCES llm_providers ON DELETE CASCADE;
CREATE INDEX vault_secrets_of_credential ON vault_secrets (of_credential);
CREATE INDEX vault_secrets_of_provider ON vault_secrets (of_provider);

-- What was asked of the providers, by days of UTC. `user_id` is NULL for what no user has asked, such as a probe. Rows
-- outlive the users and the providers: a day's budget must not come back when one is deleted.
CREATE TABLE llm_usage (
    day           date NOT NULL,
    provider_id   uuid NOT NULL,
    user_id       uuid,
    requests      bigint NOT NULL DEFAULT 0,
    failures      bigint NOT NULL DEFAULT 0,
    input_tokens  bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0
);
-- Unique, and no primary key, which could have no NULL.
CREATE UNIQUE INDEX llm_usage_row
    ON llm_usage (day, provider_id, coalesce(user_id, '00000000-0000-0000-0000-000000000000'));
CREATE INDEX llm_usage_user ON llm_usage (user_id, day);

-- A model's summary of what was done in a session. `provider` and `model` are the names that they had then, `created_at`
-- is when the recording was read for it, `covered_bytes` is how much output the recording had then.
CREATE TABLE session_summaries (
    session_id    uuid PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    text          text NOT NULL,
    provider      text NOT NULL,
    model         text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    text NOT NULL,
    covered_bytes bigint NOT NULL
);
