-- The audit log by months, so that retention drops tables instead of deleting rows; the hash chain over it; and the targets
-- that its rows are sent to.
--
-- The existing table becomes the partition of everything before the next month. Its rows are not copied: PostgreSQL reads
-- them three times, to find rows of later months, to build the index of the new primary key, and to prove the bound.
DROP TRIGGER audit_append_only ON audit;
ALTER TABLE audit RENAME TO audit_first;
ALTER TABLE audit_first ALTER COLUMN id DROP IDENTITY;
ALTER INDEX audit_event RENAME TO audit_first_event;
ALTER INDEX audit_actor RENAME TO audit_first_actor;
ALTER INDEX audit_resource RENAME TO audit_first_resource;
ALTER INDEX audit_actor_resource RENAME TO audit_first_actor_resource;

-- Rows that are committed and not yet sealed: ranges of ids. A row is added with each audit row, in its transaction. So a
-- row that is committed late is not overlooked, whatever its id, and no transaction waits for another one.
CREATE TABLE audit_waiting (
    first_id bigint PRIMARY KEY,
    last_id  bigint NOT NULL
);
CREATE SEQUENCE audit_id_seq;
-- Here the primary key still has the lowest and the highest id.
INSERT INTO audit_waiting SELECT min(id), max(id) FROM audit_first HAVING min(id) IS NOT NULL;
SELECT setval('audit_id_seq', coalesce(max(last_id), 0) + 1, false) FROM audit_waiting;
ALTER TABLE audit_first DROP CONSTRAINT audit_pkey;

-- The id has a sequence, no identity: before PostgreSQL 17 a partition has no identity column.
CREATE TABLE audit (
    id         bigint NOT NULL DEFAULT nextval('audit_id_seq'),
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_id   uuid,
    actor      text NOT NULL,
    event      text NOT NULL,
    resource   text NOT NULL,
    details    jsonb NOT NULL DEFAULT '{}',
    address    text,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
ALTER SEQUENCE audit_id_seq OWNED BY audit.id;
-- As 0004 explains them.
CREATE INDEX audit_event ON audit (event, at DESC NULLS FIRST, id DESC NULLS FIRST);
CREATE INDEX audit_actor ON audit (actor, event, at DESC NULLS LAST, id DESC NULLS FIRST);
CREATE INDEX audit_resource ON audit (resource, event, at DESC NULLS FIRST, id DESC NULLS LAST);
CREATE INDEX audit_actor_resource ON audit (actor, resource, event, at DESC NULLS LAST, id DESC NULLS LAST);

-- A row of a time without a partition of its own is stored here.
CREATE TABLE audit_default PARTITION OF audit DEFAULT;

-- The partitions but the default one. `since` is NULL for the first one, which has no lower bound.
CREATE TABLE audit_partitions (
    name  text PRIMARY KEY,
    since timestamptz,
    until timestamptz NOT NULL
);

DO $$
DECLARE
    bound timestamptz := (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    -- Rows of a clock that was ahead.
    WITH moved AS (DELETE FROM audit_first WHERE at >= bound RETURNING *) INSERT INTO audit_default SELECT * FROM moved;
    EXECUTE format('ALTER TABLE audit ATTACH PARTITION audit_first FOR VALUES FROM (MINVALUE) TO (%L)', bound);
    INSERT INTO audit_partitions (name, since, until) VALUES ('audit_first', NULL, bound);
END $$;

CREATE FUNCTION audit_note_waiting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_waiting SELECT id, id FROM added;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_waits AFTER INSERT ON audit REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION audit_note_waiting();
-- PostgreSQL calls a trigger of a statement for the table that the statement names: each partition has its own.
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_first
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_default
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- The hash chain. A seal covers the rows `ids`, all of one month, in this order; `digests` are their SHA-256, 32 bytes each.
-- `sha256` covers the predecessor's and these (netstacks/store/audit_chain.py). The rows of all seals are numbered from 0:
-- `first_row` is the number of the seal's first one. Retention empties `ids` and `digests` and keeps the rest.
CREATE TABLE audit_seals (
    number    bigint PRIMARY KEY,
    first_row bigint NOT NULL UNIQUE,
    rows      integer NOT NULL,
    first_id  bigint NOT NULL,
    last_id   bigint NOT NULL,
    month     date NOT NULL,
    since     timestamptz NOT NULL,
    until     timestamptz NOT NULL,
    ids       bigint[],
    digests   bytea,
    sha256    bytea NOT NULL,
    sealed_at timestamptz NOT NULL
);
CREATE INDEX audit_seals_month ON audit_seals (month);
-- The seals of a range of ids. A seal of rows that were committed late overlaps with others.
CREATE INDEX audit_seals_ids ON audit_seals USING gist (numrange(first_id, last_id, '[]'));

-- One row: the last seal, and the number of rows that are sealed. An instance locks it to seal.
CREATE TABLE audit_chain (
    is_head boolean PRIMARY KEY DEFAULT true CHECK (is_head),
    number  bigint NOT NULL DEFAULT 0,
    sha256  bytea NOT NULL DEFAULT '\x',
    rows    bigint NOT NULL DEFAULT 0
);
INSERT INTO audit_chain DEFAULT VALUES;

-- Where rows are sent, in the order of the chain. `position` is the number of the next row. An instance that delivers
-- holds the lease until `leased_until`; another one takes over when the lease has expired.
CREATE TABLE audit_targets (
    id              uuid PRIMARY KEY,
    name            text NOT NULL,
    type            text NOT NULL CHECK (type IN ('syslog_udp', 'syslog_tcp', 'syslog_tls', 'webhook')),
    address         text NOT NULL,
    ca              text,
    is_enabled      boolean NOT NULL DEFAULT true,
    position        bigint NOT NULL,
    leased_by       text,
    leased_until    timestamptz NOT NULL DEFAULT '-infinity',
    due_at          timestamptz NOT NULL DEFAULT now(),
    failures        integer NOT NULL DEFAULT 0,
    problem         text,
    failing_since   timestamptz,
    delivered_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX audit_targets_name ON audit_targets (lower(name));

-- The secret that signs webhooks lies in the vault. Only programs that seal a field know its name.
ALTER TABLE vault_secrets
    DROP CONSTRAINT IF EXISTS vault_secrets_field_check,
    ADD CONSTRAINT vault_secrets_field_check CHECK (field ~ '^[a-z][a-z_]*$'),
    ADD COLUMN of_audit_target uuid GENERATED ALWAYS AS (CASE WHEN field = 'push_secret' THEN credential_id END) STORED
        REFERENCES audit_targets ON DELETE CASCADE;
CREATE INDEX vault_secrets_of_audit_target ON vault_secrets (of_audit_target);
